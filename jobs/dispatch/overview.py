"""Overview of a workspace as plain values: the gateway, the queue, running jobs, and the last errors."""

from __future__ import annotations

import resource
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jobs.core.job_states import STATES
from jobs.core.processes import has_ended, is_here
from jobs.dispatch.gateway_files import lock_path
from jobs.dispatch.job_queue import JobQueue, QueuedJob, due_jobs
from jobs.records.job_log import DIED, seen
from jobs.records.journal import JournalReader
from jobs.records.numbered_records import Record
from jobs.records.progress import Progress
from jobs.storage.locks import lock_holder
from jobs.storage.paths import Place

_LAST_ERRORS = 5
_MOST_JOURNALS = 64


class Overview:
    """Reads the workspace at `root`; a second reading takes only what is new in the journals."""

    def __init__(self, root: Place) -> None:
        self._root = root
        self._queue = JobQueue(root)
        self._journals: dict[str, tuple[JournalReader, Progress]] = {}

    def jobs(self) -> list[QueuedJob]:
        """Return all jobs as they really are, oldest first; nothing is noted down."""
        return [self._as_it_is(job) for job in self._queue.jobs()]

    def _as_it_is(self, job: QueuedJob) -> QueuedJob:
        """Return a job of the command line as failed if its process has died, with the record that is still missing."""
        if job.state.state != "running" or job.state.queued:
            return job
        state = seen(self._queue.job_log(job.job_id))
        if state is None or state.state != "failed":
            return job
        death = Record(state.number + 1, "failed", job.records[-1].at_ns, {"error": DIED})
        return replace(job, state=state, records=[*job.records, death])

    def progress(self, job_id: str) -> Progress:
        """Return how far a job is, by its journal."""
        follower, progress = self._journals.setdefault(job_id, (JournalReader(self._root, job_id), Progress()))
        for event in follower.new():
            progress.take(event)
        return progress

    def values(self) -> dict[str, Any]:
        """Return gateway, queue, running, waiting and paused jobs, and the last errors."""
        now = time.time_ns()
        jobs = self.jobs()
        running = [job for job in jobs if job.state.state == "running"]
        if len(self._journals) > _MOST_JOURNALS:
            for job_id in self._journals.keys() - {job.job_id for job in running}:
                del self._journals[job_id]
        waiting = [job for job in jobs if job.state.queued and job.state.state == "pending"]
        due = {job.job_id for job in waiting if job.is_due(now)}
        states = Counter(job.state.state for job in jobs)
        return {
            "workspace": str(self._root),
            "gateway": gateway(self._root),
            "queue": {"depth": len(waiting), "due": len(due)},
            "jobs": {state: states.get(state, 0) for state in STATES},
            "running": [self._running(job) for job in running],
            "waiting": [_waiting(job) for job in _in_order(waiting, now)],
            "paused": [_paused(job) for job in jobs if job.state.state == "paused"],
            "errors": _errors(jobs) + [{"job_id": n, "error": e} for n, e in self._queue.unreadable.items()],
        }

    def _running(self, job: QueuedJob) -> dict[str, Any]:
        process = job.state.holder or {}
        asked = job.state.request.word if job.state.request else None
        return {
            "job_id": job.job_id,
            "queued": job.state.queued,
            "asked": asked,
            **self.progress(job.job_id).values(),
            "worker": {
                "host": process.get("host"),
                "pid": process.get("pid"),
                "alive": not has_ended(process) if is_here(process) else None,
                "silent_s": round(self._queue.silent_s(job), 1) if job.state.queued else None,
                "rss_mb": rss_mb(int(process["pid"])) if is_here(process) else None,
            },
        }


def gateway(root: Place) -> dict[str, Any] | None:
    """Return what the gateway of the workspace at `root` noted about itself; None if there is none."""
    return lock_holder(lock_path(root))


def rss_mb(pid: int) -> float | None:
    """Return the memory of a process of this machine in MB; None where that is not known."""
    try:
        # Field 2 of /proc/PID/statm: resident pages (proc(5)).
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return None
    return round(pages * resource.getpagesize() / 1e6, 1)


def _in_order(waiting: Sequence[QueuedJob], now: int) -> list[QueuedJob]:
    """Return waiting jobs in the order in which they will be started, those that wait for a time at the end."""
    due = due_jobs(waiting, now)
    later = [job for job in waiting if not job.is_due(now)]
    return [*due, *sorted(later, key=lambda job: job.not_before_ns)]


def _waiting(job: QueuedJob) -> dict[str, Any]:
    return {
        "job_id": job.job_id,
        "priority": job.priority,
        "schedule": job.schedule,
        "submitted_ns": job.submitted_ns,
        "not_before_ns": job.not_before_ns or None,
        "failures": job.failures,
        "error": job.error,
    }


def _paused(job: QueuedJob) -> dict[str, Any]:
    begun = any(record.word in {"started", "claimed"} for record in job.records)
    return {"job_id": job.job_id, "queued": job.state.queued, "begun": begun, "at_ns": job.records[-1].at_ns}


def _errors(jobs: Sequence[QueuedJob]) -> list[dict[str, Any]]:
    """Return what went wrong in jobs that are not done, or are in another state than requested, the last first."""
    found = [
        {"job_id": job.job_id, "state": job.state.state, "at_ns": record.at_ns, "error": record.data["error"]}
        for job in jobs
        if job.state.state != "cancelled"
        for record in job.records[-1:]
        if record.data.get("error")
    ]
    return sorted(found, key=lambda error: -error["at_ns"])[:_LAST_ERRORS]
