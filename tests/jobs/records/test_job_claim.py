"""Which process holds a claim on a job, and what is recorded when the claim is released."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from jobs.core.errors import RunFailedError, RunStopped, UserError
from jobs.core.job_states import JobStateName
from jobs.core.processes import process_identity
from jobs.records.job_claim import JobClaim
from jobs.records.job_log import JobLog, settled
from jobs.records.run_events import SilentListener
from jobs.storage.paths import place


class Patient(SilentListener):
    """Remembers the job, and wants it to end when `interrupted` is set."""

    def __init__(self) -> None:
        self.job_id = ""

    def on_job_claimed(self, job_id: str) -> None:
        self.job_id = job_id


def take(root: Path, claimed: bool = False) -> JobClaim:
    return JobClaim.take(place(root), "job", Patient(), {"inputs": ["cam"]}, claimed)


def queued(root: Path) -> JobLog:
    job_log = JobLog(place(root), "job")
    job_log.add("submitted")
    job_log.add("claimed", {"process": process_identity(os.getppid()), "attempt": 1})
    return job_log


def dead() -> dict[str, object]:
    with subprocess.Popen(["sleep", "60"]) as process:
        identity = process_identity(process.pid)
        process.kill()
    return identity


def test_a_claim_has_one_holder_and_records_its_identity(tmp_path: Path) -> None:
    watcher = Patient()
    JobClaim.take(place(tmp_path), "job", watcher, {"inputs": ["cam"]})
    assert watcher.job_id == "job"
    (record,) = JobLog(place(tmp_path), "job").records()
    assert record.word == "started"
    assert record.data == {"process": process_identity(), "request": {"inputs": ["cam"]}}
    with pytest.raises(UserError, match=f"job job is running, by process {os.getpid()}"):
        take(tmp_path)


@pytest.mark.process
def test_a_job_whose_process_has_died_may_be_claimed(tmp_path: Path) -> None:
    job_log = JobLog(place(tmp_path), "job")
    job_log.add("started", {"process": dead()})
    job_log.add("pause")
    take(tmp_path)
    assert [r.word for r in job_log.records()] == ["started", "pause", "failed", "started"]
    state = job_log.state()
    assert state is not None
    assert (state.state, state.attempts, state.request) == ("running", 2, None)


@pytest.mark.process
def test_the_death_of_a_gateways_process_is_for_gateways_to_note(tmp_path: Path) -> None:
    job_log = JobLog(place(tmp_path), "job")
    job_log.add("submitted")
    job_log.add("claimed", {"process": dead(), "attempt": 1})
    state = settled(job_log)
    assert state is not None
    assert state.state == "running"


@pytest.mark.parametrize("end", ["done", "cancelled"])
def test_a_job_that_is_over_cannot_be_claimed(tmp_path: Path, end: JobStateName) -> None:
    claim = take(tmp_path)
    assert claim.release(end) == end
    with pytest.raises(UserError, match=f"job job is {end}, expected one that is paused or has failed"):
        take(tmp_path)


def test_a_queued_job_is_run_by_the_process_it_was_claimed_for(tmp_path: Path) -> None:
    job_log = JobLog(place(tmp_path), "job")
    job_log.add("submitted")
    with pytest.raises(UserError, match="belongs to the queue"):
        take(tmp_path)
    job_log.add("claimed", {"process": process_identity(os.getppid()), "attempt": 1})
    take(tmp_path, claimed=True)
    state = job_log.state()
    assert state is not None
    assert (state.holder, state.attempts) == (process_identity(), 1)


@pytest.mark.parametrize(
    ("asked", "queue", "word", "state"),
    [
        ((), False, "paused", "paused"),
        ((), False, "failed", "failed"),
        (("pause",), False, "paused", "paused"),
        (("pause", "resume"), False, "paused", "paused"),
        (("pause", "cancel"), False, "paused", "cancelled"),
        (("cancel",), False, "done", "done"),
        ((), True, "paused", "pending"),
        (("pause",), True, "paused", "paused"),
        (("pause", "resume"), True, "paused", "pending"),
        (("step",), True, "paused", "pending"),
        (("pause-after",), True, "paused", "pending"),
        (("pause-after", "pause"), True, "paused", "paused"),
        (("pause", "cancel"), True, "paused", "cancelled"),
    ],
)
def test_requests_made_meanwhile_count_when_a_claim_is_released(
    tmp_path: Path, asked: tuple[str, ...], queue: bool, word: JobStateName, state: str
) -> None:
    job_log = queued(tmp_path) if queue else JobLog(place(tmp_path), "job")
    claim = take(tmp_path, claimed=queue)
    for request in asked:
        job_log.add(request)
    assert claim.release(word) == state
    now = job_log.state()
    assert now is not None
    if state == "pending" and asked in {("step",), ("pause-after",)}:
        # The next run pauses at the stage that this one did not reach.
        assert now.request is not None
        assert now.request.word == asked[0]


@pytest.mark.parametrize(("word", "data"), [("step", {}), ("pause-after", {"stage": "measure"})])
def test_a_job_of_the_queue_that_got_to_where_it_was_to_pause_is_paused(
    tmp_path: Path, word: str, data: dict[str, str]
) -> None:
    job_log = queued(tmp_path)
    claim = take(tmp_path, claimed=True)
    job_log.add(word, data)
    with pytest.raises(RunStopped, match="paused"):
        claim.finished("measure", first_time=True)
    assert claim.release("paused") == "paused"


def test_requests_are_seen_and_a_step_is_one_stage(tmp_path: Path) -> None:
    job_log = JobLog(place(tmp_path), "job")
    claim = take(tmp_path)
    claim.finished("measure", first_time=True)
    job_log.add("step")
    claim.finished("measure", first_time=False)
    with pytest.raises(RunStopped, match="paused"):
        claim.finished("scenes", first_time=True)
    job_log.add("pause-after", {"stage": "idle"})
    claim.finished("scenes", first_time=True)
    with pytest.raises(RunStopped, match="paused"):
        claim.finished("idle", first_time=False)
    job_log.add("cancel")
    with pytest.raises(RunStopped, match="cancelled"):
        claim.finished("scenes", first_time=True)
    assert claim.asked(now=True) == "cancelled"


def test_a_run_that_was_taken_for_dead_ends_and_says_nothing_more(tmp_path: Path) -> None:
    job_log = JobLog(place(tmp_path), "job")
    claim = take(tmp_path)
    job_log.add("failed", {"error": "taken for dead"})
    job_log.add("started", {"process": process_identity(os.getppid())})
    with pytest.raises(RunFailedError, match="taken from this run"):
        claim.asked(now=True)
    assert claim.release("failed") == "running"
    assert len(job_log.records()) == 3
