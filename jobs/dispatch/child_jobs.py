"""Jobs that the job of a loop runs in its own process, one after another, each with its records like any other job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs.active_learning.run import CancelledJobError
from jobs.core.errors import JobStateError, RunStopped
from jobs.core.processes import is_here
from jobs.dispatch import tasks
from jobs.dispatch.execute_job import Heartbeat, request_of
from jobs.dispatch.job_queue import LOOP, JobQueue, QueuedJob
from jobs.records.job_log import JobLog
from jobs.records.run_events import ProgressListener
from jobs.runs.run import run
from jobs.storage.workspace import Workspace


class LoopChildJobs:
    """Runs the jobs of a loop, for `parent`, its own job. No gateway starts them."""

    def __init__(self, workspace: Workspace, parent: str, listener: ProgressListener) -> None:
        self._workspace = workspace
        self._parent = parent
        self._listener = listener
        self._queue = JobQueue(workspace.root)

    def run(self, job_id: str, submitted: Mapping[str, Any]) -> Mapping[str, Any]:
        """Run a job under this id, or continue it, unless it is done, and return its result.

        Raises `RunStopped` where it was paused or is to wait, `CancelledJobError`, `JobStateError` where another
        process runs it, and what it failed with.
        """
        JobLog(self._workspace.root, job_id).add("submitted", {**submitted, "to": LOOP, "loop": self._parent}, after=0)
        job = self._claimed(job_id)
        if job is not None:
            with Heartbeat(self._workspace.root / "jobs" / job_id, None):
                self._execute(job)
        job = self._found(job_id)
        state = job.state.state
        if state == "cancelled":
            raise CancelledJobError(f"job {job_id} was cancelled; `winnow loop resume` does the step as another job")
        if state != "done":
            if state == "paused":
                # Somebody has paused the step alone, and does not want the loop to begin it again at once.
                JobLog(self._workspace.root, self._parent).add("pause")
            raise RunStopped("paused")
        return job.result

    def _execute(self, job: QueuedJob) -> None:
        if job.kind != "run":
            tasks.run(self._workspace, job, self._listener)
            return
        run(request_of(self._workspace, job), self._listener, job_id=job.job_id, claimed=True)

    def _claimed(self, job_id: str) -> QueuedJob | None:
        """Return a job after it was claimed for this process; None for one that is over."""
        while True:
            job = self._found(job_id)
            state = job.state
            if state.is_final:
                return None
            if state.state in {"paused", "failed"}:
                JobLog(self._workspace.root, job_id).add("resume", after=state.number)
            elif state.state == "running" and self._queue.is_abandoned(job):
                self._queue.return_to_queue(job, "its process ended")
            elif state.state == "running":
                holder = state.holder or {}
                place = "" if is_here(holder) else f" on {holder.get('host')}"
                raise JobStateError(f"job {job_id} is running, by process {holder.get('pid')}{place}")
            elif self._queue.claim(job):
                return self._found(job_id)

    def _found(self, job_id: str) -> QueuedJob:
        return next(job for job in self._queue.jobs() if job.job_id == job_id)
