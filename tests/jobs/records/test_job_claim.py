"""Who holds a job, and what is said of it when it is let go of."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from jobs.core.errors import RunFailedError, RunStopped, UserError
from jobs.core.processes import process_identity
from jobs.records.job_claim import Hold
from jobs.records.job_log import Inbox, settled
from jobs.records.run_events import Unwatched
from jobs.storage.paths import place


class Patient(Unwatched):
    """Remembers the job, and wants it to end when told so."""

    def __init__(self) -> None:
        self.job_id = ""

    def held(self, job_id: str) -> None:
        self.job_id = job_id


def take(root: Path, claimed: bool = False) -> Hold:
    return Hold.take(place(root), "job", Patient(), {"inputs": ["cam"]}, claimed)


def queued(root: Path) -> Inbox:
    inbox = Inbox(place(root), "job")
    inbox.add("submitted")
    inbox.add("claimed", {"process": process_identity(os.getppid()), "attempt": 1})
    return inbox


def dead() -> dict[str, object]:
    with subprocess.Popen(["sleep", "60"]) as process:
        identity = process_identity(process.pid)
        process.kill()
    return identity


def test_a_hold_is_taken_by_one_and_names_itself(tmp_path: Path) -> None:
    watcher = Patient()
    Hold.take(place(tmp_path), "job", watcher, {"inputs": ["cam"]})
    assert watcher.job_id == "job"
    (record,) = Inbox(place(tmp_path), "job").records()
    assert record.word == "started"
    assert record.data == {"process": process_identity(), "request": {"inputs": ["cam"]}}
    with pytest.raises(UserError, match=f"job job is running, by process {os.getpid()}"):
        take(tmp_path)


def test_a_job_whose_holder_has_died_may_be_taken_up(tmp_path: Path) -> None:
    inbox = Inbox(place(tmp_path), "job")
    inbox.add("started", {"process": dead()})
    inbox.add("pause")
    take(tmp_path)
    assert [r.word for r in inbox.records()] == ["started", "pause", "failed", "started"]
    state = inbox.state()
    assert state is not None
    assert (state.state, state.attempts, state.request) == ("running", 2, None)


def test_the_death_of_a_gateways_process_is_for_gateways_to_note(tmp_path: Path) -> None:
    inbox = Inbox(place(tmp_path), "job")
    inbox.add("submitted")
    inbox.add("claimed", {"process": dead(), "attempt": 1})
    state = settled(inbox)
    assert state is not None
    assert state.state == "running"


@pytest.mark.parametrize("end", ["done", "cancelled"])
def test_a_job_that_is_over_is_not_taken_up(tmp_path: Path, end: str) -> None:
    hold = take(tmp_path)
    assert hold.let_go(end) == end
    with pytest.raises(UserError, match=f"job job is {end}, expected one that is paused or has failed"):
        take(tmp_path)


def test_a_job_of_the_queue_is_taken_up_by_whom_it_was_claimed_for(tmp_path: Path) -> None:
    inbox = Inbox(place(tmp_path), "job")
    inbox.add("submitted")
    with pytest.raises(UserError, match="of the queue"):
        take(tmp_path)
    inbox.add("claimed", {"process": process_identity(os.getppid()), "attempt": 1})
    take(tmp_path, claimed=True)
    state = inbox.state()
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
def test_what_was_asked_meanwhile_counts_when_a_job_is_let_go_of(
    tmp_path: Path, asked: tuple[str, ...], queue: bool, word: str, state: str
) -> None:
    inbox = queued(tmp_path) if queue else Inbox(place(tmp_path), "job")
    hold = take(tmp_path, claimed=queue)
    for request in asked:
        inbox.add(request)
    assert hold.let_go(word) == state
    now = inbox.state()
    assert now is not None
    if state == "pending" and asked in {("step",), ("pause-after",)}:
        # Whoever takes it up next pauses where this run did not get to.
        assert now.request is not None
        assert now.request.word == asked[0]


@pytest.mark.parametrize(("word", "data"), [("step", {}), ("pause-after", {"stage": "measure"})])
def test_a_job_of_the_queue_that_got_to_where_it_was_to_pause_is_paused(
    tmp_path: Path, word: str, data: dict[str, str]
) -> None:
    inbox = queued(tmp_path)
    hold = take(tmp_path, claimed=True)
    inbox.add(word, data)
    with pytest.raises(RunStopped, match="paused"):
        hold.finished("measure", first_time=True)
    assert hold.let_go("paused") == "paused"


def test_requests_are_seen_and_a_step_is_one_stage(tmp_path: Path) -> None:
    inbox = Inbox(place(tmp_path), "job")
    hold = take(tmp_path)
    hold.finished("measure", first_time=True)
    inbox.add("step")
    hold.finished("measure", first_time=False)
    with pytest.raises(RunStopped, match="paused"):
        hold.finished("scenes", first_time=True)
    inbox.add("pause-after", {"stage": "idle"})
    hold.finished("scenes", first_time=True)
    with pytest.raises(RunStopped, match="paused"):
        hold.finished("idle", first_time=False)
    inbox.add("cancel")
    with pytest.raises(RunStopped, match="cancelled"):
        hold.finished("scenes", first_time=True)
    assert hold.asked(now=True) == "cancelled"


def test_a_run_that_was_taken_for_dead_ends_and_says_nothing_more(tmp_path: Path) -> None:
    inbox = Inbox(place(tmp_path), "job")
    hold = take(tmp_path)
    inbox.add("failed", {"error": "taken for dead"})
    inbox.add("started", {"process": process_identity(os.getppid())})
    with pytest.raises(RunFailedError, match="taken from this run"):
        hold.asked(now=True)
    assert hold.let_go("failed") == "running"
    assert len(inbox.records()) == 3
