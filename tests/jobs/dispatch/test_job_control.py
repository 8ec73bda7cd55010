from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs.core.errors import UserError
from jobs.dispatch import control_token, job_control
from jobs.dispatch.submit import submit
from jobs.records.job_log import JobLog, jobs_of
from jobs.runs.run_options import RunOptions, build_request
from jobs.storage.workspace import Workspace
from tests.helpers import write_noise_stream


@pytest.fixture
def options(tmp_path: Path) -> RunOptions:
    return RunOptions(inputs=[str(write_noise_stream(tmp_path / "cam", range(3)))], ray_address="10.0.0.1:6379")


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    return Workspace.at(tmp_path / "tables").create()


def failed_run(place: Workspace, options: RunOptions, job_id: str = "20261121-020000-failed") -> str:
    """The job of a run that was started from a command line and failed."""
    job_log = JobLog(place.root, job_id)
    job_log.add("started", {"process": {}, "request": build_request(place.root, options).as_data()})
    job_log.add("failed", {"error": "no space left"})
    return job_id


def test_a_queued_job_is_left_to_its_gateway(place: Workspace, options: RunOptions) -> None:
    job_id = submit(place.root, options.model_copy(update={"ray_address": None}))
    assert job_control.pause(place, "last").values() == {"job_id": job_id, "state": "paused", "request": None}
    resumed = job_control.resume(place, job_id)
    assert (resumed.state.state, resumed.to_run) == ("pending", None)
    later = job_control.pause_after(place, job_id, "quality")
    assert later.values() == {"job_id": job_id, "state": "pending", "request": "pause-after"}
    assert job_control.step(place, job_id).to_run is None
    with pytest.raises(UserError, match="expected one that is done, failed or cancelled"):
        job_control.clear(place, job_id)
    assert job_control.cancel(place, job_id).state.state == "cancelled"
    assert (job_control.clear(place, job_id), jobs_of(place.root)) == (job_id, [])


@pytest.mark.parametrize(
    ("named", "expected"), [(None, "10.0.0.1:6379"), ("local", None), ("10.0.0.2:6379", "10.0.0.2:6379")]
)
def test_a_job_of_no_queue_is_given_back_to_be_run(
    place: Workspace, options: RunOptions, named: str | None, expected: str | None
) -> None:
    job_id = failed_run(place, options)
    resumed, stepped = job_control.resume(place, job_id, named), job_control.step(place, job_id, named)
    assert resumed.to_run is not None
    assert stepped.to_run is not None
    assert (resumed.to_run.ray_address, resumed.to_run.one_stage) == (expected, False)
    assert (stepped.to_run.ray_address, stepped.to_run.one_stage) == (expected, True)
    assert list(resumed.to_run.inputs) == list(options.inputs)
    # Nothing was asked of it: the run says so.
    assert [record.word for record in JobLog(place.root, job_id).records()] == ["started", "failed"]


CALLS: list[Callable[[Workspace, str], Any]] = [
    job_control.pause,
    job_control.cancel,
    job_control.resume,
    job_control.step,
    job_control.clear,
    job_control.retry_quarantined,
    lambda place, job_id: job_control.pause_after(place, job_id, "quality"),
    lambda place, job_id: job_control.replay(place, job_id, "curation"),
    lambda place, job_id: job_control.replay_stage(place, job_id, "quality"),
]


@pytest.mark.parametrize("call", CALLS)
def test_requests_to_a_job_without_the_token_are_refused(
    place: Workspace, options: RunOptions, monkeypatch: pytest.MonkeyPatch, call: Callable[[Workspace, str], Any]
) -> None:
    job_id = failed_run(place, options)
    monkeypatch.setenv(control_token.VARIABLE, "correct-horse-battery")
    control_token.protect(place.root)
    monkeypatch.delenv(control_token.VARIABLE)
    with pytest.raises(UserError, match="asks for a control token"):
        call(place, job_id)
    assert len(JobLog(place.root, job_id).records()) == 2


def test_control_of_a_missing_workspace_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="tables"):
        job_control.pause(Workspace.at(tmp_path / "tables"), "last")
