from __future__ import annotations

from pathlib import Path

import pytest

from conf import load
from jobs.core.errors import UserError
from jobs.dispatch.control_token import VARIABLE, protect
from jobs.dispatch.execute_job import request_of
from jobs.dispatch.job_queue import JobQueue
from jobs.dispatch.submit import submit
from jobs.records.job_log import JobLog
from jobs.runs.run_options import RunOptions
from jobs.storage.paths import place
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.views.snapshot_spec import find_run
from tests.helpers import write_noise_stream


@pytest.fixture
def cam(tmp_path: Path) -> Path:
    return write_noise_stream(tmp_path / "cam", range(3))


def test_a_submitted_job_keeps_its_options_when_files_change_later(
    tmp_path: Path, cam: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("duplicates: {hamming: 3}\n")
    asked = RunOptions(inputs=["cam"], config="mine.yaml", settings=["idle.keep=2"], stream_ids=["gate"], limit=2)
    job_id = submit("tables", asked, priority=7)
    Path("mine.yaml").write_text("duplicates: {hamming: 5}\n")
    workspace = Workspace.at(tmp_path / "tables")
    (job,) = JobQueue(workspace.root).jobs()
    assert (job.job_id, job.priority, job.state.state, job.state.queued) == (job_id, 7, "pending", True)
    with pytest.raises(UserError, match=f"job {job_id} has not begun, .* see winnow gateway status"):
        find_run(Store(workspace.root), job_id)
    monkeypatch.chdir("/")
    request = request_of(workspace, job)
    assert list(request.inputs) == [str(cam)]
    assert request.loaded == load(settings=["duplicates.hamming=3", "idle.keep=2"])
    assert (request.limit, request.overrides.stream_ids) == (2, ("gate",))


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        (RunOptions(inputs=["nowhere"]), "does not exist"),
        (RunOptions(inputs=["cam"], settings=["duplicates.haming=3"]), "unknown key"),
        (RunOptions(inputs=["cam"], profile="qality"), "unknown profile"),
        (RunOptions(inputs=["cam"], stream_ids=["a", "b"]), "stream"),
    ],
)
def test_an_invalid_submission_is_refused_and_creates_no_job(
    tmp_path: Path, cam: Path, monkeypatch: pytest.MonkeyPatch, asked: RunOptions, problem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=problem):
        submit("tables", asked)
    assert not Path("tables").exists()


def test_a_job_of_a_later_version_is_refused_with_its_name(tmp_path: Path) -> None:
    job_log = JobLog(place(tmp_path / "tables"), "j1")
    job_log.add("submitted", {"asked": {"inputs": ["/cam"], "colour": "red"}})
    (job,) = JobQueue(place(tmp_path / "tables")).jobs()
    with pytest.raises(UserError, match=r"job j1: .*cannot be read by this version.*colour"):
        request_of(Workspace(place(tmp_path / "tables")), job)


def test_a_pause_requested_at_the_start_holds_until_a_run_records_it(tmp_path: Path, cam: Path) -> None:
    root = tmp_path / "tables"
    job_id = submit(root, RunOptions(inputs=[str(cam)], pause_after="quality"))
    queue, workspace = JobQueue(place(root)), Workspace.at(root)
    for expected, words in (
        # The first process dies before it has put anything down.
        ("quality", ("requeued",)),
        ("quality", ("started", "pause-after", "paused", "resume")),
        (None, ("paused", "resume")),
    ):
        (job,) = queue.jobs()
        assert queue.claim(job)
        (job,) = queue.jobs()
        assert request_of(workspace, job).pause_after == expected
        for word in words:
            JobLog(place(root), job_id).add(word)
    with pytest.raises(UserError, match="nowhere"):
        submit(root, RunOptions(inputs=[str(cam)], pause_after="nowhere"))


def test_submissions_without_the_token_are_refused(tmp_path: Path, cam: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Workspace.at(tmp_path / "tables").create().folder
    monkeypatch.setenv(VARIABLE, "correct-horse-battery")
    protect(place(root))
    submit(root, RunOptions(inputs=[str(cam)]))
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(UserError, match="asks for a control token"):
        submit(root, RunOptions(inputs=[str(cam)]))
    assert len(JobQueue(place(root)).jobs()) == 1
    written = [path.read_bytes() for path in root.rglob("*") if path.is_file()]
    assert not any(b"correct-horse" in data for data in written)
