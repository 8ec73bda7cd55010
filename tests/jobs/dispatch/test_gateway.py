"""Gateways as processes of their own, stopped and killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.core.errors import UserError
from jobs.core.processes import has_ended
from jobs.dispatch.control_token import VARIABLE, protect
from jobs.dispatch.gateway_files import lock_path, log_path
from jobs.dispatch.job_queue import JobQueue, QueuedJob
from jobs.dispatch.overview import Overview
from jobs.dispatch.schedule import Schedule, save
from jobs.dispatch.submit import submit
from jobs.records.job_log import JobLog
from jobs.records.journal import events
from jobs.records.progress import Progress
from jobs.runs.run_options import RunOptions
from jobs.storage.locks import lock_holder
from jobs.storage.paths import place
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.helpers import assert_one_live_row, log_events, on_disk, write_noise_stream
from tests.processes import n_rows
from tests.waiting import ended
from tests.waiting import wait_until as wait

pytestmark = pytest.mark.process

FAST = ("--backoff", "0.1", "--quiet")
STEADY = ("unit_frames=16", "resources.block_frames=16", "resources.commit_seconds=0.1")
"""Enough blocks and commits for there to be something between any two of them."""

N = 3000
"""Far more frames than are measured between the first commit and the signal."""


class Running:
    """A gateway in the foreground of a process of its own."""

    def __init__(self, root: Path, *options: str) -> None:
        self.root = root
        command = [sys.executable, "-m", "jobs.cli", "gateway", "start", "--foreground", "--workspace", str(root)]
        self.process = subprocess.Popen([*command, *FAST, *options], stderr=subprocess.PIPE, text=True)
        wait(lambda: self.process.poll() is not None or (lock_holder(lock_path(place(root))) or {}).get("ready"))

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Signal it, and return its exit code and what it said."""
        self.process.send_signal(number)
        code, _, said = ended(self.process)
        return code, said


@pytest.fixture
def gateway(workspace: Workspace) -> Iterator[Callable[..., Running]]:
    """Start gateways of the workspace; none is left running, nor anything they began."""
    workspace.create()
    started: list[Running] = []

    def start(*options: str) -> Running:
        started.append(Running(workspace.folder, *options))
        return started[-1]

    yield start
    for running in started:
        if running.process.poll() is None:
            running.end()
    for event in log_events(on_disk(log_path(workspace.root)), 1000):
        if event["event"] == "job_started":
            assert not Path(f"/proc/{event['pid']}").exists(), event


def job(workspace: Workspace, job_id: str) -> QueuedJob:
    return next(job for job in JobQueue(workspace.root).jobs() if job.job_id == job_id)


def is_in(workspace: Workspace, job_id: str, *states: str) -> bool:
    return job(workspace, job_id).state.state in states


def words(workspace: Workspace, job_id: str) -> list[str]:
    return [record.word for record in job(workspace, job_id).records]


def add(workspace: Workspace, folder: Path, settings: tuple[str, ...] = (), priority: int = 0) -> str:
    """Submit a job that only reads frames."""
    return submit(
        workspace.root,
        RunOptions(inputs=[str(folder)], settings=["stages=[frames]", *settings]),
        priority,
    )


def worker_pid(workspace: Workspace, job_id: str) -> int:
    """Return the process of a job once its run has begun."""
    wait(lambda: job(workspace, job_id).state.state == "running" and words(workspace, job_id)[-1] == "started")
    held = job(workspace, job_id).state.holder
    assert held is not None
    return int(held["pid"])


def computed(workspace: Workspace, job_id: str) -> list[int]:
    """Return how many frames each attempt at a job has measured."""
    found = [e for e in events(workspace.root, job_id) if e["event"] == "block_done"]
    attempts = sorted({e["attempt"] for e in events(workspace.root, job_id)})
    return [sum(e["rows"] for e in found if e["attempt"] == attempt) for attempt in attempts]


@pytest.mark.slow
def test_one_gateway_runs_jobs_by_priority_and_continues_after_a_cancelled_one(
    gateway: Callable[..., Running], workspace: Workspace, tmp_path: Path
) -> None:
    short = add(workspace, write_noise_stream(tmp_path / "short", range(3)))
    long = add(workspace, write_noise_stream(tmp_path / "long", range(N)), STEADY, priority=5)
    gateway()
    mistaken = gateway()
    _, said = mistaken.process.communicate()
    assert (mistaken.process.returncode, said[:6]) == (2, "error:")
    assert "has a gateway already: process" in said
    worker_pid(workspace, long)
    wait(lambda: n_rows(workspace.folder) > 10)
    assert is_in(workspace, short, "pending")
    JobLog(workspace.root, long).add("cancel")
    wait(lambda: is_in(workspace, short, "done"))
    assert is_in(workspace, long, "cancelled")
    assert Progress(events(workspace.root, long)).ended == "cancelled"
    began = [e["job_id"] for e in log_events(on_disk(log_path(workspace.root)), 100) if e["event"] == "job_started"]
    assert began == [long, short]
    assert words(workspace, short) == ["submitted", "claimed", "started", "done"]
    runs = View.of(workspace).lazy("runs").collect()
    assert dict(runs.select("job_id", "state").iter_rows()) == {long: "cancelled", short: "done"}


@pytest.mark.slow
def test_a_job_outlives_gateways_that_are_stopped_or_killed_and_measures_no_frame_twice(
    gateway: Callable[..., Running], workspace: Workspace, tmp_path: Path
) -> None:
    job_id = add(workspace, write_noise_stream(tmp_path / "cam", (number % 100 for number in range(N))), STEADY)

    def some_more(before: int) -> int:
        pid = worker_pid(workspace, job_id)
        wait(lambda: n_rows(workspace.folder) > before + 10)
        return pid

    # The first is asked to stop: the job commits all that was measured and goes back into the queue.
    first = gateway()
    some_more(0)
    assert first.end() == (0, "")
    assert words(workspace, job_id)[-1] == "requeued"
    assert lock_holder(lock_path(workspace.root)) is None
    kept = n_rows(workspace.folder)
    assert 10 < kept < N
    assert computed(workspace, job_id) == [kept]
    # The second is killed: the job notices that nobody looks after it any more, and does the same.
    second = gateway()
    pid = some_more(kept)
    second.end(signal.SIGKILL)
    wait(lambda: words(workspace, job_id)[-1] == "requeued")
    kept = n_rows(workspace.folder)
    assert kept < N
    assert sum(computed(workspace, job_id)) == kept
    wait(lambda: not Path(f"/proc/{pid}").exists())
    assert job(workspace, job_id).failures == 0
    # The third is killed together with the job, which so cannot say anything.
    third = gateway()
    pid = some_more(kept)
    third.process.send_signal(signal.SIGSTOP)
    os.kill(pid, signal.SIGKILL)
    third.end(signal.SIGKILL)
    assert is_in(workspace, job_id, "running")
    assert n_rows(workspace.folder) < N
    # The fourth finds out, and finishes it.
    fourth = gateway()
    wait(lambda: is_in(workspace, job_id, "done"))
    assert (job(workspace, job_id).failures, job(workspace, job_id).state.attempts) == (1, 4)
    assert n_rows(workspace.folder) == N
    assert_one_live_row(workspace)
    assert fourth.end() == (0, "")


@pytest.mark.slow
def test_a_job_whose_process_dies_is_tried_again_and_then_given_up(
    gateway: Callable[..., Running], workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "correct-horse-battery")
    protect(workspace.root)
    job_id = add(workspace, write_noise_stream(tmp_path / "cam", (number % 100 for number in range(N))), STEADY)
    gateway("--attempts", "2")
    killed = []
    for _ in range(2):
        pid = worker_pid(workspace, job_id)
        killed.append(pid)
        # What a job runs does not know the token that guards it.
        assert b"correct-horse" not in Path(f"/proc/{pid}/environ").read_bytes()
        os.kill(pid, signal.SIGKILL)
        wait(lambda: words(workspace, job_id)[-1] != "started")
    wait(lambda: is_in(workspace, job_id, "failed"))
    assert killed[0] != killed[1]
    assert words(workspace, job_id) == [
        *("submitted", "claimed", "started", "requeued"),
        *("claimed", "started", "failed"),
    ]
    assert job(workspace, job_id).error == "ended by signal 9"
    logged = [(e["event"], e.get("again_in_s")) for e in log_events(on_disk(log_path(workspace.root)), 100)][1:]
    assert logged == [("job_started", None), ("job_put_back", 0.1), ("job_started", None), ("job_failed", None)]


def test_a_job_that_cannot_be_run_is_not_tried_again(
    gateway: Callable[..., Running], workspace: Workspace, tmp_path: Path
) -> None:
    folder = write_noise_stream(tmp_path / "cam", range(3))
    job_id = add(workspace, folder)
    folder.rename(tmp_path / "moved")
    gateway()
    wait(lambda: is_in(workspace, job_id, "failed"))
    assert words(workspace, job_id) == ["submitted", "claimed", "failed"]
    assert str(folder) in str(job(workspace, job_id).error)


def test_a_strict_job_with_bad_frames_is_done_and_among_the_errors(
    gateway: Callable[..., Running], workspace: Workspace, tmp_path: Path
) -> None:
    folder = write_noise_stream(tmp_path / "cam", range(3))
    (folder / "image_1.jpg").write_bytes(b"no image")
    asked = RunOptions(inputs=[str(folder)], settings=["stages=[frames]"], strict=True)
    job_id = submit(workspace.root, asked)
    gateway()
    wait(lambda: [e for e in log_events(on_disk(log_path(workspace.root)), 9) if e["event"] == "job_done"])
    (ended,) = [e for e in log_events(on_disk(log_path(workspace.root)), 9) if e["event"] == "job_done"]
    assert (ended["exit_code"], words(workspace, job_id)[-1]) == (3, "done")
    (error,) = Overview(workspace.root).values()["errors"]
    assert (error["job_id"], error["state"]) == (job_id, "done")
    assert error["error"] == "1 frame is corrupt or quarantined, and the run is strict"


def test_a_gateway_runs_due_schedules_and_releases_them(
    gateway: Callable[..., Running], workspace: Workspace, tmp_path: Path
) -> None:
    folder = write_noise_stream(tmp_path / "cam", range(6))
    asked: dict[str, Any] = {"inputs": [str(folder)]}
    # Due once an hour, and nobody looked for a day.
    yesterday = time.time_ns() - 86_400 * 10**9
    save(workspace.root, Schedule("hourly", "0 * * * *", "UTC", asked, added_ns=yesterday))
    gateway()
    wait(lambda: JobQueue(workspace.root).jobs())
    (found,) = JobQueue(workspace.root).jobs()
    wait(lambda: is_in(workspace, found.job_id, "done"))
    due = time.strftime("%Y-%m-%d", time.strptime(found.job_id[:8], "%Y%m%d"))
    releases = View.of(workspace).lazy("releases").collect()
    assert releases.select("name", "job_id").rows() == [(f"hourly-{due}", found.job_id)]
    (made,) = [e["data"] for e in events(workspace.root, found.job_id) if e["event"] == "release_made"]
    assert (made["name"], made["before"], made["added"], made["frames"]) == (f"hourly-{due}", None, 6, 6)


def test_a_gateway_in_the_background_is_started_once_and_stopped(workspace: Workspace) -> None:
    from jobs.dispatch import daemon

    workspace.create()
    found = daemon.start(workspace.root, ("--metrics-port", "0"))
    try:
        assert found["metrics_port"] > 0
        assert Path(f"/proc/{found['pid']}/cwd").readlink() == Path("/")
        with pytest.raises(UserError, match=f"has a gateway already: process {found['pid']}"):
            daemon.start(workspace.root, ())
        # It waits without what jobs need.
        loaded = Path(f"/proc/{found['pid']}/maps").read_text()
        assert not any(name in loaded for name in ("polars", "pyarrow", "ray/", "numpy", "cv2"))
    finally:
        assert daemon.stop(workspace.root)["pid"] == found["pid"]
    wait(lambda: has_ended(found))
    with pytest.raises(UserError, match="has no gateway"):
        daemon.stop(workspace.root)
    assert [e["event"] for e in log_events(on_disk(log_path(workspace.root)), 9)] == [
        "gateway_started",
        "gateway_stopped",
    ]


def test_a_gateway_that_cannot_go_to_work_says_why(workspace: Workspace) -> None:
    import socket

    from jobs.dispatch import daemon

    workspace.create()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"metrics cannot be served on 127.0.0.1:{port}"):
            daemon.start(workspace.root, ("--metrics-port", str(port)))
    assert lock_holder(lock_path(workspace.root)) is None
    assert json.loads(on_disk(lock_path(workspace.root)).read_text())["pid"]
