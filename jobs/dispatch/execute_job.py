"""Execution of one job of the queue, in a process of its own with a heartbeat, which ends with its gateway."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from threading import Event, Thread
from typing import Any, Self

from jobs.core.errors import UserError
from jobs.dispatch import tasks
from jobs.dispatch.auto_release import publish
from jobs.dispatch.follow_up import FollowUp
from jobs.dispatch.job_queue import HEARTBEAT, HEARTBEAT_S, JobQueue, QueuedJob
from jobs.records.run_record import RunRecord
from jobs.runs import registered_models
from jobs.runs.prepare import RunRequest
from jobs.runs.replay import from_data
from jobs.runs.run_options import RunOptions, build_request
from jobs.storage.paths import Place
from jobs.storage.workspace import Workspace

_LOOK_S = 0.25

Run = Callable[[RunRequest, str, Callable[[RunRecord], dict[str, Any]] | None], RunRecord]
"""Runs a request as the job of an id that was claimed for this process, and makes a release before it says done."""


def execute(
    workspace: Workspace, job_id: str, run: Run, gateway_pid: int | None = None, ray_job: str | None = None
) -> RunRecord | None:
    """Run a job that was claimed for this process. Raises `UserError` for one that was not, or cannot be run.

    Returns the record of a run, None for a job of another kind.

    With `gateway_pid` the job returns to the queue, once the frames in progress are committed, when that process is no
    longer the parent of this one. A job that was submitted to a Ray cluster, as its job `ray_job`, is claimed here.
    """
    queue = JobQueue(workspace.root)
    jobs = {job.job_id: job for job in queue.jobs()}
    job = jobs.get(job_id)
    if ray_job and job is not None and job.is_of_ray and job.state.state == "pending":
        queue.claim(job, ray_job=ray_job)
        jobs = {job.job_id: job for job in queue.jobs()}
        job = jobs[job_id]
    if job is None or not job.is_claimed:
        raise UserError(f"job {job_id} was not claimed for this process; `winnow gateway start` runs what is queued")
    if job.kind != "run":
        with Heartbeat(workspace.root / "jobs" / job_id, gateway_pid):
            tasks.run(workspace, job)
        return None
    request = request_of(workspace, job)
    name = job.release
    follow_up = FollowUp.parse(job.follow_up)
    siblings = [other.job_id for other in jobs.values() if other.schedule == job.schedule]
    release = None if name is None else lambda record: publish(workspace, record.job_id, name, siblings, follow_up)
    with Heartbeat(workspace.root / "jobs" / job_id, gateway_pid):
        return run(request, job_id, release)


def request_of(workspace: Workspace, job: QueuedJob) -> RunRequest:
    """Return the options of a job of the queue; of a schedule, with profile and files as they are now."""
    unreadable = f"job {job.job_id}: what was submitted cannot be read by this version"
    if "asked" in job.submitted:
        try:
            options = RunOptions.parse(job.submitted["asked"])
        except UserError as error:
            raise UserError([f"{unreadable}: {problem}" for problem in error.problems]) from error
        request = build_request(workspace.root, options)
    else:
        try:
            request = replace(
                from_data(workspace, job.submitted["request"]), pause_after=job.submitted.get("pause_after")
            )
        except (KeyError, TypeError) as error:
            raise UserError(f"{unreadable}: {error!r}") from error
    if before := next((r.data["request"] for r in job.records if r.word == "started" and "request" in r.data), None):
        request = replace(request, loaded=registered_models.as_before(request.loaded, before["config"]))
    # A run writes down where it is to pause once it has taken the job; a later resume wants no second pause there.
    is_known = any(record.word == "pause-after" for record in job.records)
    return replace(request, pause_after=None) if is_known else request


class Heartbeat:
    """Touches a file in a job's folder while it lasts, and ends this process when its gateway has ended."""

    def __init__(self, folder: Place, gateway_pid: int | None) -> None:
        self._file = folder / HEARTBEAT
        self._gateway_pid = gateway_pid
        self._over = Event()
        self._thread = Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        last = 0.0
        while not self._over.is_set():
            if time.monotonic() >= last + HEARTBEAT_S:
                # A full disk is for the run to report.
                with suppress(OSError):
                    self._file.touch()
                last = time.monotonic()
            if self._gateway_pid is not None and os.getppid() != self._gateway_pid:
                self._gateway_pid = None
                os.kill(os.getpid(), signal.SIGTERM)
            self._over.wait(_LOOK_S)
