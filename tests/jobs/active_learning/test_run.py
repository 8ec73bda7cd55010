"""Loops of active learning, with real detectors, real trainings, real kills, and a person who draws what is there."""

from __future__ import annotations

import multiprocessing
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import schemas
from jobs.active_learning import explain
from jobs.active_learning.loop_log import LoopLog
from jobs.active_learning.options import STEPS, Step
from jobs.core.errors import JobStateError, UserError
from jobs.dispatch import loop_control
from jobs.dispatch.job_queue import LOOP, JobQueue
from jobs.models import registry
from jobs.records.job_log import JobLog, jobs_of
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from tests.endpoints import Endpoint, endpoint, openai
from tests.helpers import problems, rows, winnow
from tests.loop_material import SETTINGS, known_objects, loop_options, loop_workspace, review, run_loop_job
from tests.training_material import registered
from tests.waiting import wait_until

pytest.importorskip("torchvision", reason="the extra `train` is not installed")
pytestmark = [pytest.mark.slow(80), pytest.mark.process]

# What steps import: killed processes are forks of one that has imported it, and computed nothing yet.
_IMPORTED = ("jobs.dispatch.child_jobs", "jobs.training.train_release", "jobs.evaluation.evaluate_model", "torchvision")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Return a workspace with 20 frames to learn from, two of them twice, and 6 to measure on."""
    return loop_workspace(tmp_path_factory.mktemp("loop"))


@pytest.fixture
def seer() -> Iterator[Endpoint]:
    """A vision language model that keeps every box."""
    with endpoint(openai) as there:
        yield there


def _rows(workspace: Workspace, table: schemas.Table, **equal: Any) -> list[dict[str, Any]]:
    found = Store(workspace.root).read(table).to_pylist()
    return [row for row in found if all(row[name] == value for name, value in equal.items())]


class _Killer:
    """Runs the job of a loop in processes that it kills."""

    def __init__(self, workspace: Workspace, name: str) -> None:
        self.killed: list[Step] = []
        self._workspace = workspace
        self._log = LoopLog(workspace.root, name)
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([*_IMPORTED, "transformers.trainer", "accelerate", __name__])

    def kill_at(self, number: int, step: Step, also: Callable[[], bool] = lambda: True) -> None:
        """Have a process continue the loop, and kill it when it has begun a step, and the job of that if it has one."""
        state = self._log.state()
        assert state is not None
        process = self._context.Process(target=run_loop_job, args=(str(self._workspace.root), state.job_id))
        process.start()
        wait_until(lambda: (self._has_begun(number, step) and also()) or not process.is_alive(), every_s=0.01)
        process.kill()
        process.join()
        assert process.exitcode in {0, -signal.SIGKILL}, step
        # Where this process gets no time for a while, the other one is further by then.
        assert self._has_begun(number, step), step
        if process.exitcode:
            self.killed.append(step)

    def _has_begun(self, number: int, step: Step) -> bool:
        state = self._log.state()
        begun = state.rounds[number - 1].steps.get(step) if state and len(state.rounds) >= number else None
        if begun is None:
            return False
        job = JobLog(self._workspace.root, begun.job_id).state() if begun.job_id else None
        return begun.job_id is None or (job is not None and job.state != "pending")


def test_a_loop_that_is_killed_at_each_step_does_nothing_twice(workspace: Workspace, seer: Endpoint) -> None:
    """Nine kills in one round, then a second round: every job, release, version, promotion and question once."""
    registered(workspace, "start", 1)
    asks = (f"escalate.url={seer.url}/v1", "escalate.model=seer", "escalate.per_minute=60000", "escalate.parallel=1")
    prices = ("escalate.usd_in=10", "escalate.usd_out=100")
    budgets = {"questions": 3, "usd": 5.0, "minutes": 60, "promote": True}
    options = loop_options(workspace, "yard", weights="models:start@1", settings=(*SETTINGS, *asks, *prices), **budgets)
    job_id = loop_control.start(workspace, options)
    with pytest.raises(JobStateError, match="a loop yard already"):
        loop_control.start(workspace, options)
    killer = _Killer(workspace, "yard")
    killer.kill_at(1, "annotate")
    killer.kill_at(1, "route")
    killer.kill_at(1, "escalate", lambda: len(_rows(workspace, schemas.ESCALATIONS)) > 0)
    killer.kill_at(1, "review")
    run_loop_job(str(workspace.root), job_id)
    waiting = explain.status(workspace, "yard")
    assert waiting.state == "waiting_for_people"
    assert waiting.review is not None
    assert waiting.review[1:] == (0, 8)
    # It holds no place of a gateway meanwhile, and is due again later.
    (job,) = (each for each in JobQueue(workspace.root).live() if each.job_id == job_id)
    assert (job.state.state, job.not_before_ns > 0) == ("pending", True)
    review(workspace, "yard", 1, known_objects(), most=5)
    run_loop_job(str(workspace.root), loop_control.resume(workspace, "yard"))
    assert explain.status(workspace, "yard").review == (waiting.review[0], 5, 8)
    assert review(workspace, "yard", 1, known_objects()) == 8
    assert loop_control.resume(workspace, "yard") == job_id
    for step in STEPS[STEPS.index("release") :]:
        killer.kill_at(1, step)
    assert {"annotate", "escalate", "train"} <= set(killer.killed)
    run_loop_job(str(workspace.root), job_id)
    second = explain.status(workspace, "yard")
    assert (second.state, second.round, second.left.frames) == ("waiting_for_people", 2, 0)
    review(workspace, "yard", 2, known_objects())
    run_loop_job(str(workspace.root), loop_control.resume(workspace, "yard"))
    _assert_nothing_was_done_twice(workspace, seer)
    _assert_what_was_chosen(workspace)
    _assert_what_is_said(workspace)
    _assert_rounds_are_undone(workspace)


def _assert_nothing_was_done_twice(workspace: Workspace, seer: Endpoint) -> None:
    steps = _rows(workspace, schemas.LOOP_STEPS, loop="yard")
    assert sorted((row["round"], STEPS.index(row["step"])) for row in steps) == [
        (n, at) for n in (1, 2) for at in range(9)
    ]
    assert {row["state"] for row in steps} == {"done"}
    of_steps = [row["job_id"] for row in steps if row["job_id"]]
    logs = [JobLog(workspace.root, name).records() for name in jobs_of(workspace.root)]
    (loop,) = _rows(workspace, schemas.LOOPS, loop="yard")
    children = [records for records in logs if records[0].data.get("loop") == loop["job_id"]]
    assert {records[0].data["to"] for records in children} == {LOOP}
    assert len(of_steps) == len(set(of_steps)) == len(children)
    assert len(of_steps) == 2 * len({"annotate", "escalate", "release", "train", "evaluate"})
    for records in children:
        assert [record.word for record in records].count("done") == 1
    releases = Counter(row["name"] for row in _rows(workspace, schemas.RELEASES))
    assert (releases["yard-r1"], releases["yard-r2"]) == (1, 1)
    versions = registry.versions(Store(workspace.root), "yard")
    assert [row["release"] for row in versions] == ["yard-r1", "yard-r2"]
    assert [row["version"] for row in registry.history(Store(workspace.root), "yard", "champion")] == [1]
    calls = _rows(workspace, schemas.ESCALATIONS)
    # The question that was under way when its process was killed, and no other, may have been put once more.
    assert 3 <= len(calls) <= len(seer.asked) <= len(calls) + 1
    spent = explain.status(workspace, "yard").spent
    assert spent.usd == pytest.approx(0.02 * len(calls))
    assert spent.usd <= 5.0


def _assert_what_was_chosen(workspace: Workspace) -> None:
    chosen = [_rows(workspace, schemas.SELECTIONS, selection=f"yard-r{number}") for number in (1, 2)]
    groups = {(r["stream_id"], r["frame_idx"]): r["group_id"] for r in rows(workspace, schemas.DUPLICATES).to_dicts()}
    frames = [(row["stream_id"], row["frame_idx"]) for each in chosen for row in each]
    assert len(frames) == len(set(frames)) == 16
    assert {stream for stream, _ in frames} == {"pool"}
    alike = [groups[frame] for frame in frames if groups.get(frame)]
    assert len(alike) == len(set(alike))
    for each in chosen:
        # A tenth of eight frames, and not less than one.
        assert sum(row["reason"] == "random" for row in each) == 1
        assert sum(row["reason"].startswith("uncertain") for row in each) == 7
        values = [row["value"] for row in sorted(each, key=lambda row: int(row["rank"])) if row["reason"] != "random"]
        assert values == sorted(values, reverse=True)


def _assert_what_is_said(workspace: Workspace) -> None:
    (loop,) = _rows(workspace, schemas.LOOPS, loop="yard")
    assert (loop["state"], loop["ended_ns"] is not None) == ("budget_spent", True)
    first, second = sorted(_rows(workspace, schemas.LOOP_ROUNDS, loop="yard"), key=lambda row: int(row["round"]))
    for row in (first, second):
        assert (row["frames_asked"], row["frames_random"], row["frames_reviewed"]) == (8, 1, 8)
        drawn = [
            found for n in (row["round"],) for found in _rows(workspace, schemas.SELECTIONS, selection=f"yard-r{n}")
        ]
        objects = sum(len(known_objects()[found["frame_idx"]]) for found in drawn)
        assert row["approved"] + row["corrected"] + row["added"] == objects
        assert row["errors_random"] == 1.0
        assert row["training_minutes"] > 0
    assert (first["verdict"], first["promoted"], first["decision"]) == ("first", "champion", "continue")
    assert (second["verdict"], second["promoted"], second["decision"]) == ("cannot_tell", None, "budget_spent")
    said = winnow("loop", "explain", "yard", "-w", workspace.root).output
    for text in ("round 2", "yard@1 is champion", "not promoted: cannot tell", "7 the most uncertain, 1 by chance"):
        assert text in said
    assert "people have been asked about all of 16 frames" in said.splitlines()[-1]
    curve = explain.curve_of(workspace, "yard")
    assert [(point.round, point.frames) for point in curve] == [(1, 8), (2, 16)]
    over = winnow("loop", "resume", "yard", "-w", workspace.root)
    assert any("is over: budget spent" in line for line in problems(over))


def _assert_rounds_are_undone(workspace: Workspace) -> None:
    store = Store(workspace.root)
    with pytest.raises(UserError, match="round 2 is its last one"):
        loop_control.undo(workspace, "yard", 1, "ann")
    assert loop_control.undo(workspace, "yard", 2, "ann")["alias"] is None
    assert registry.current(store, "yard", "champion") == 1
    undone = loop_control.undo(workspace, "yard", 1, "ann")
    assert (undone["alias"], undone["version"], undone["release"]) == ("champion", 0, "yard-r1")
    with pytest.raises(UserError, match="no version of yard is champion yet"):
        registry.find(store, "yard@champion")
    assert {row["is_undone"] for row in _rows(workspace, schemas.LOOP_ROUNDS, loop="yard")} == {True}
    assert "yard-r1" in {row["name"] for row in _rows(workspace, schemas.RELEASES)}
    assert len([row for row in _rows(workspace, schemas.REVIEWS) if row["decision"] == "seen"]) == 16


def test_a_loop_is_paused_resumed_and_stopped(workspace: Workspace) -> None:
    """Without a model the first frames are chosen by chance; what is stopped stays so."""
    job_id = loop_control.start(workspace, loop_options(workspace, "gate"))
    assert loop_control.pause(workspace, "gate").state == "paused"
    assert loop_control.resume(workspace, "gate") == job_id
    run_loop_job(str(workspace.root), job_id)
    (row,) = _rows(workspace, schemas.LOOP_ROUNDS, loop="gate")
    assert (row["step"], row["frames_asked"], row["frames_random"]) == (
        "review",
        row["frames_random"],
        row["frames_asked"],
    )
    assert loop_control.stop(workspace, "gate", "ann").ended == ("stopped", "stopped by ann")
    assert JobLog(workspace.root, job_id).state() is not None
    with pytest.raises(JobStateError, match="is over: stopped"):
        loop_control.resume(workspace, "gate")
    assert [row["state"] for row in _rows(workspace, schemas.LOOPS, loop="gate")] == ["stopped"]


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"target": "F1=0.9"}, "figures are AP, AP50, AP75"),
        ({"target": "AP50=90"}, "expected a figure and its value"),
        ({"on": "release:none"}, "none"),
        ({"model": "torchvision:none"}, "expected torchvision:NAME"),
        ({"name": "a/b"}, "expected letters"),
        ({"training": {"release": "v1"}}, "the loop decides that itself"),
        ({"training": {"epoch": 1}}, "epoch"),
        ({"weights": "models:none@1"}, "there is no model 'none'"),
        ({"questions": 1}, "expected --usd"),
        ({"larger": 1}, "expected --set route.larger"),
    ],
)
def test_what_is_wrong_with_a_loop_is_reported_before_it_begins(
    workspace: Workspace, more: dict[str, Any], problem: str
) -> None:
    """One line each, and no loop."""
    with pytest.raises(UserError) as raised:
        loop_control.start(workspace, loop_options(workspace, "refused").model_copy(update=more))
    assert any(problem in line for line in raised.value.problems), raised.value.problems
    assert not _rows(workspace, schemas.LOOPS, loop="refused")
