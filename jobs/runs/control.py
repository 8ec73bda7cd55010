"""What users ask of jobs: pause, resume, step, cancel. The run in progress answers; see `jobs.records.job_claim`.

Imports little, so that a request is made at once.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from jobs.core.errors import UserError
from jobs.core.naming import counted_back
from jobs.core.processes import is_here
from jobs.records.job_log import Inbox, JobState, fold, jobs_of, settled
from jobs.storage import paths
from jobs.storage.workspace import Workspace

_LOOK_S, _LOOK_FAR_S = 0.1, 1.0


@dataclass(frozen=True)
class Job:
    """One job of a workspace, for those who want something of it."""

    workspace: Workspace
    job_id: str
    inbox: Inbox

    def state(self) -> JobState:
        """Return where the job stands; the death of its process is noted down.

        A run of before there were records has none; what its row says is put down as its first.
        """
        state = settled(self.inbox) or _first_record(self)
        if state.state == "failed" and not state.queued and _said_in_tables(self)[0] == "done":
            # It died between the row that says so and the record.
            self.inbox.add("done", after=state.number)
            state = fold(self.inbox.records()) or state
        return state


def find(workspace: Workspace, job_id: str) -> Job:
    """Return a job by its id, a beginning of it that only one has, or `last`. Raises `UserError`."""
    root = workspace.require().root
    known = set(jobs_of(root))
    if not any(job_id and name.startswith(counted_back(job_id, known)) for name in known):
        from jobs.runs.job_rows import ids

        known |= ids(root)
    job_id = counted_back(job_id, known)
    found = [job_id] if job_id in known else sorted(name for name in known if name.startswith(job_id))
    if len(found) == 1 and job_id:
        return Job(workspace, found[0], Inbox(root, found[0]))
    if found and job_id:
        raise UserError(f"{len(found)} jobs begin with {job_id!r}: {', '.join(found)}")
    raise UserError(
        f"there is no job {job_id!r}; the last one is {max(known, default='none')} (see winnow inspect runs)"
    )


def _said_in_tables(job: Job) -> tuple[str, str | None]:
    from jobs.runs.job_rows import state_of

    return state_of(job.workspace.root, job.job_id)


def _first_record(job: Job) -> JobState:
    said, error = _said_in_tables(job)
    job.inbox.add(said, {"error": error} if error else None, after=0)
    return job.state()


def pause(job: Job) -> JobState:
    """Ask a job to pause; one that waits in the queue is paused by that."""
    return _ask(job, "pause", {"paused"})


def cancel(job: Job) -> JobState:
    """Ask a job to end; one that nobody runs is cancelled by that."""
    before = job.state()
    state = _ask(job, "cancel", {"cancelled"})
    if state.state == "cancelled" != before.state:
        from jobs.runs.job_rows import put_down

        put_down(job, state.state)
    return state


def pause_after(job: Job, stage: str) -> JobState:
    """Ask a job to pause when it is through with a stage, the next time that it is."""
    from jobs.runs import replay
    from jobs.stages.pipeline import step_named

    config = replay.of_job(job.workspace, job.job_id).loaded.config
    job.inbox.add("pause-after", {"stage": step_named(stage, config)})
    return job.state()


def resume(job: Job) -> JobState:
    """Withdraw a pause, or put a job back into the queue; a job of nobody's queue is left as it is, for its caller.

    Raises `UserError` for a job that is over.
    """
    state = job.state()
    if state.state in {"done", "cancelled"}:
        raise UserError(f"job {job.job_id} is {state.state}, expected one that is paused or has failed")
    if state.state == "running" and not (state.request and state.request.word == "pause"):
        raise UserError(f"job {job.job_id} is running{_where(state)}, expected one that is paused or has failed")
    if state.state == "running" or state.queued:
        job.inbox.add("resume")
    return job.state()


def step(job: Job) -> JobState:
    """Ask a job to pause after one stage more: the one it is at, or of a job that is paused, the next.

    A job of nobody's queue that is not running is left as it is: its caller runs it, with `RunRequest.one_stage`.
    Raises `UserError` for a job that is over.
    """
    state = job.state()
    if state.state in {"done", "cancelled"}:
        raise UserError(f"job {job.job_id} is {state.state}, expected one that is not over")
    if state.state == "running" or state.queued:
        job.inbox.add("step")
    return job.state()


def wait(job: Job, states: set[str], seconds: float) -> JobState:
    """Return where a job stands once it is in one of these states, or when the time is over."""
    until = time.monotonic() + seconds
    while (state := job.state()).state not in states and not state.ended and time.monotonic() < until:
        time.sleep(paths.poll_interval_s(job.workspace.root, _LOOK_S, _LOOK_FAR_S))
    return state


def _ask(job: Job, word: str, answered: set[str]) -> JobState:
    state = job.state()
    # Who asks twice means it once.
    if state.state not in answered and not (state.request and state.request.word == word):
        job.inbox.add(word)
    return job.state()


def _where(state: JobState) -> str:
    holder = state.holder or {}
    place = "" if is_here(holder) else f" on {holder.get('host')}"
    return f", by process {holder.get('pid')}{place}" if holder else ""
