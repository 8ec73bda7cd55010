"""The queue of a workspace's jobs: which are due, which are running, and which a dead process abandoned.

Imports little. There is no file of the queue: its state follows from the records of all jobs, so that jobs can be added
without a running gateway, and nothing needs repair after a crash.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jobs.core.errors import UserError
from jobs.core.processes import has_ended, is_here, process_identity
from jobs.records.job_log import JobLog, JobState, fold
from jobs.records.numbered_records import Record
from jobs.storage import paths
from jobs.storage.paths import Place

HEARTBEAT = "heartbeat"
HEARTBEAT_S = 5.0
LOOP = "loop"
"""Who a job is submitted to that is a step of a loop: not to gateways."""

SILENCE_S = 120.0
"""How long the process of a job on another machine may be silent before it is taken for dead."""

_SETTLED_NS = 2 * 10**9


@dataclass(frozen=True)
class QueuedJob:
    """A job as its records tell of it."""

    job_id: str
    state: JobState
    records: Sequence[Record]

    @property
    def submitted(self) -> Mapping[str, Any]:
        """Return what it was submitted with; empty if it was not."""
        return next((r.data for r in self.records if r.word == "submitted"), {})

    @property
    def priority(self) -> int:
        """Return the priority that it was submitted with; higher ones start first."""
        return int(self.submitted.get("priority", 0))

    @property
    def kind(self) -> str:
        """Return `run`, or what else it does: see `jobs.dispatch.task_options`."""
        return str(self.submitted.get("kind", "run"))

    @property
    def result(self) -> Mapping[str, Any]:
        """Return what it has recorded of its result; empty for a run, whose rows tell that."""
        last = self.records[-1]
        found: Mapping[str, Any] = last.data.get("result", {}) if last.word == "done" else {}
        return found

    @property
    def is_of_ray(self) -> bool:
        """Return whether it was handed to a cluster of Ray, which runs it, rather than to gateways."""
        return self.submitted.get("to") == "ray"

    @property
    def is_of_loop(self) -> bool:
        """Return whether it is a step of a loop, whose own job runs it."""
        return self.submitted.get("to") == LOOP

    @property
    def schedule(self) -> str | None:
        """Return the name of the schedule that submitted it."""
        return self.submitted.get("schedule")

    @property
    def release(self) -> str | None:
        """Return the name of the release to make at its end."""
        return self.submitted.get("release")

    @property
    def follow_up(self) -> Mapping[str, Any]:
        """Return what to do with that release: the values of a `FollowUp`, empty for nothing."""
        return dict(self.submitted.get("then") or {})

    @property
    def submitted_ns(self) -> int:
        """Return when it was submitted (ns since 1970)."""
        return self.records[0].at_ns

    @property
    def not_before_ns(self) -> int:
        """Return when it may be started again after a failure (ns since 1970); 0 if it did not fail."""
        last = self.records[-1]
        return int(last.data.get("not_before_ns", 0)) if last.word == "requeued" else 0

    @property
    def failures(self) -> int:
        """Return how often it failed since it was last submitted or resumed."""
        count = 0
        for record in self.records:
            if record.word in {"submitted", "resume", "step"}:
                count = 0
            elif record.word == "requeued" and record.data.get("failed", False):
                count += 1
        return count

    @property
    def error(self) -> str | None:
        """Return the last error since it was last submitted or resumed, if any."""
        for record in reversed(self.records):
            if record.word in {"submitted", "resume", "step"}:
                return None
            if record.data.get("error"):
                return str(record.data["error"])
        return None

    @property
    def is_claimed(self) -> bool:
        """Return whether it was claimed for a process that has not started it yet."""
        taken = [record.word for record in self.records if record.word in {"claimed", "started"}]
        return self.state.queued and self.state.state == "running" and taken[-1:] == ["claimed"]

    def is_due(self, now_ns: int) -> bool:
        """Return whether a gateway may start it."""
        waits = self.state.queued and self.state.state == "pending" and not (self.is_of_ray or self.is_of_loop)
        # What was written later than now is from before the clock was set back; it must not wait for that time.
        return waits and (self.not_before_ns <= now_ns or self.records[-1].at_ns > now_ns)


class JobQueue:
    """All jobs of the workspace at `root`; cheap to poll, however many have ended."""

    def __init__(self, root: Place) -> None:
        self.root = root
        self.unreadable: dict[str, str] = {}
        self._job_logs: dict[str, JobLog] = {}
        self._over: dict[str, QueuedJob] = {}
        # A folder in which nothing was made since has nothing new.
        self._names: tuple[int, list[str]] = (-1, [])
        self._live: dict[str, tuple[int, QueuedJob]] = {}

    def jobs(self) -> list[QueuedJob]:
        """Return all jobs in order of their ids."""
        self.live()
        found = self._over | {job_id: job for job_id, (_, job) in self._live.items()}
        return [found[job_id] for job_id in sorted(found)]

    def live(self) -> list[QueuedJob]:
        """Return the jobs of which something can still become, in order of their ids."""
        self.unreadable.clear()
        names = self._job_names()
        live: dict[str, tuple[int, QueuedJob]] = {}
        for job_id in names:
            if job_id in self._over:
                continue
            if (found := self._read_job(job_id)) is None:
                continue
            if found[1].state.is_final:
                self._over[job_id] = _without_request(found[1])
                self._job_logs.pop(job_id, None)
            else:
                live[job_id] = found
        self._live = live
        return [job for _, job in live.values()]

    def _job_names(self) -> list[str]:
        """Return the names of all jobs in order."""
        folder = self.root / "jobs"
        try:
            changed_ns = folder.changed_ns()
            if changed_ns is not None and changed_ns == self._names[0]:
                return self._names[1]
            names = folder.folders()
        except FileNotFoundError:
            changed_ns, names = -1, []
        self._names = (_settled(changed_ns), names)
        # Those that were cleared.
        for gone in (self._over.keys() | self._job_logs.keys()) - set(names):
            self._over.pop(gone, None)
            self._job_logs.pop(gone, None)
        return names

    def _read_job(self, job_id: str) -> tuple[int, QueuedJob] | None:
        """Return a job as it is now, and when its folder had changed; None if it has no records that can be read."""
        try:
            changed_ns = (self.root / "jobs" / job_id).changed_ns()
            known = self._live.get(job_id)
            if known is not None and changed_ns is not None and known[0] == changed_ns:
                return known
            records = self.job_log(job_id).records()
        except FileNotFoundError:
            return None
        except UserError as error:
            # An unreadable job must not block the others.
            self.unreadable[job_id] = str(error)
            return None
        state = fold(records)
        return None if state is None else (_settled(changed_ns), QueuedJob(job_id, state, records))

    def job_log(self, job_id: str) -> JobLog:
        """Return the records of a job, for a word about it."""
        return self._job_logs.setdefault(job_id, JobLog(self.root, job_id))

    def claim(self, job: QueuedJob, **more: Any) -> bool:
        """Take a job up for this process; False if it is no longer as it was."""
        data = {"process": process_identity(), "attempt": job.state.attempts + 1, **more}
        return self.job_log(job.job_id).add("claimed", data, after=job.state.number) is not None

    def requeue(self, job: QueuedJob, error: str, wait_s: float) -> bool:
        """Put back a job whose attempt failed; False if it is no longer as it was."""
        data = {"failed": True, "error": error, "not_before_ns": time.time_ns() + int(wait_s * 1e9)}
        return self.job_log(job.job_id).add("requeued", data, after=job.state.number) is not None

    def return_to_queue(self, job: QueuedJob, reason: str) -> bool:
        """Put back a job that nothing is wrong with; False if it is no longer as it was."""
        return self.job_log(job.job_id).add("requeued", {"reason": reason}, after=job.state.number) is not None

    def give_up(self, job: QueuedJob, error: str) -> bool:
        """Say that a job has failed; False if it is no longer as it was."""
        return self.job_log(job.job_id).add("failed", {"error": error}, after=job.state.number) is not None

    def is_abandoned(self, job: QueuedJob) -> bool:
        """Say whether a job of the queue is recorded as running although no process runs it."""
        if not job.state.queued or job.state.state != "running":
            return False
        holder = job.state.holder or {}
        if is_here(holder):
            return has_ended(holder)
        return self.silent_s(job, exactly=True) > SILENCE_S

    def silent_s(self, job: QueuedJob, exactly: bool = False) -> float:
        """Return for how long nothing was heard of a job's process; `exactly`, by the clock of what was heard."""
        written = (self.root / "jobs" / job.job_id).files().values()
        heard = max((file.mtime_s for file in written), default=0.0)
        same_clock = is_here(job.state.holder or {}) and not self.root.is_remote
        return (time.time() if same_clock or not exactly else paths.now_s(self.root / "jobs")) - heard


def _settled(changed_ns: int | None) -> int:
    """Return when a folder changed; -1 for just now, since it may change once more within one tick of its clock."""
    return changed_ns if changed_ns is not None and time.time_ns() - changed_ns > _SETTLED_NS else -1


def _without_request(job: QueuedJob) -> QueuedJob:
    """Return a job that is over without its options, of which there may be thousands."""
    kept = ("to", "priority", "schedule", "release", "error", "failed", "kind", "result")
    records = [replace(r, data={n: r.data[n] for n in kept if n in r.data}) for r in job.records]
    return replace(job, state=replace(job.state, holder=None), records=records)


def due_jobs(jobs: Sequence[QueuedJob], now_ns: int) -> list[QueuedJob]:
    """Return the jobs that may be started: those of the highest priority first, the oldest of them before others."""
    due = [job for job in jobs if job.is_due(now_ns)]
    return sorted(due, key=lambda job: (-job.priority, job.submitted_ns, job.job_id))
