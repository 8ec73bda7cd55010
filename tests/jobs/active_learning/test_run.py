"""Loops of active learning, with real detectors, real trainings and a person who draws what is there."""

from __future__ import annotations

from typing import Any

import pytest

import schemas
from jobs.active_learning import explain
from jobs.core.errors import JobStateError
from jobs.dispatch import loop_control, tasks
from jobs.dispatch.job_queue import JobQueue
from jobs.records.run_events import SilentListener
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from tests.loop_material import known_objects, loop_options, loop_workspace, review

pytest.importorskip("torchvision", reason="the extra `train` is not installed")
pytestmark = [pytest.mark.slow(30), pytest.mark.process]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Return a workspace with 20 frames to learn from and 6 to measure on."""
    return loop_workspace(tmp_path_factory.mktemp("loop"))


def _rows(workspace: Workspace, table: schemas.Table, **equal: Any) -> list[dict[str, Any]]:
    found = Store(workspace.root).read(table).to_pylist()
    return [row for row in found if all(row[name] == value for name, value in equal.items())]


def _until_it_waits(workspace: Workspace, job_id: str) -> dict[str, Any]:
    return tasks.run_here(workspace, job_id, SilentListener())


def test_a_loop_of_two_rounds_ends_with_its_budget(workspace: Workspace) -> None:
    """By chance first, then by uncertainty; each step's job is done once, and everything says why."""
    job_id = loop_control.start(workspace, loop_options(workspace, "yard"))
    assert _until_it_waits(workspace, job_id) == {}
    waiting = explain.status(workspace, "yard")
    assert waiting.state == "waiting_for_people"
    assert waiting.review is not None
    assert waiting.review[1:] == (0, 8)
    # It holds no place of a gateway meanwhile, and is due again later.
    (job,) = (each for each in JobQueue(workspace.root).live() if each.job_id == job_id)
    assert (job.state.state, job.not_before_ns > 0) == ("pending", True)
    with pytest.raises(JobStateError, match="a loop yard already"):
        loop_control.start(workspace, loop_options(workspace, "yard"))
    review(workspace, "yard", 1, known_objects(), most=5)
    assert _until_it_waits(workspace, loop_control.resume(workspace, "yard")) == {}
    assert explain.status(workspace, "yard").review == (waiting.review[0], 5, 8)
    assert review(workspace, "yard", 1, known_objects()) == 8
    assert _until_it_waits(workspace, loop_control.resume(workspace, "yard")) == {}
    second = explain.status(workspace, "yard")
    assert (second.state, second.round, second.left.frames) == ("waiting_for_people", 2, 0)
    review(workspace, "yard", 2, known_objects())
    result = _until_it_waits(workspace, loop_control.resume(workspace, "yard"))
    assert (result["state"], result["rounds"]) == ("budget_spent", 2)
