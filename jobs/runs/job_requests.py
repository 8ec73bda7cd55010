"""Requests to a job: pause, resume, step, cancel, clear. A run in progress answers them; see `jobs.records.job_claim`.

Imports little, so that a request is made at once.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jobs.core.errors import JobStateError, UnknownJobError
from jobs.core.naming import counted_back
from jobs.core.processes import is_here
from jobs.records.job_log import JobLog, JobState, fold, jobs_of, settled
from jobs.storage import paths
from jobs.storage.workspace import Workspace

_LOOK_S, _LOOK_FAR_S = 0.1, 1.0


@dataclass(frozen=True)
class JobHandle:
    """A job of a workspace, for reading its state and making requests."""

    workspace: Workspace
    job_id: str
    job_log: JobLog

    def state(self) -> JobState:
        """Return the state of the job; the death of its process is recorded.

        Raises `UnknownJobError` for a job that has been cleared.
        """
        state = settled(self.job_log)
        if state is None:
            raise UnknownJobError(f"job {self.job_id} was cleared; expected one that `winnow inspect runs` lists")
        if state.state == "failed" and not state.queued and self._is_done_in_tables():
            # It died after writing its row and before the record.
            self.job_log.add("done", after=state.number)
            state = fold(self.job_log.records()) or state
        return state

    def _is_done_in_tables(self) -> bool:
        from jobs.runs.job_rows import state_of

        return state_of(self.workspace.root, self.job_id) == "done"


def find(workspace: Workspace, job_id: str) -> JobHandle:
    """Return a job by its id, a unique beginning of it, or `last`. Raises `UnknownJobError` for none, or several."""
    root = workspace.require().root
    known = set(jobs_of(root))
    job_id = counted_back(job_id, known)
    found = [job_id] if job_id in known else sorted(name for name in known if name.startswith(job_id))
    if len(found) == 1 and job_id:
        return JobHandle(workspace, found[0], JobLog(root, found[0]))
    if found and job_id:
        raise UnknownJobError(f"{len(found)} jobs begin with {job_id!r}: {', '.join(found)}")
    raise UnknownJobError(
        f"there is no job {job_id!r}; the last one is {max(known, default='none')} (see winnow inspect runs)"
    )


def pause(job: JobHandle, after: int | None = None) -> JobState:
    """Request that a job pauses; one that waits in the queue is paused by that. `after` is as in `resume`."""
    return _ask(job, "pause", {"paused"}, after)


def cancel(job: JobHandle, after: int | None = None) -> JobState:
    """Request that a job ends; one that no process runs is cancelled by that. `after` is as in `resume`."""
    before = job.state()
    state = _ask(job, "cancel", {"cancelled"}, after)
    if state.state == "cancelled" != before.state:
        from jobs.runs.job_rows import set_state

        set_state(job.workspace.root, job.job_id, state.state)
    return state


def stop(job: JobHandle, after: int | None = None) -> JobState:
    """Request that a training ends as done with what it has; a paused one does so when it continues."""
    return _ask(job, "stop", {"done"}, after)


def pause_after(job: JobHandle, stage: str) -> JobState:
    """Request that a job pauses after a stage, the next time that it finishes it."""
    from jobs.runs import replay
    from jobs.stages.build import step_named

    config = replay.of_job(job.workspace, job.job_id).loaded.config
    job.job_log.add("pause-after", {"stage": step_named(stage, config)})
    return job.state()


def resume(job: JobHandle, after: int | None = None) -> JobState:
    """Withdraw a pause, or put a job back into the queue; a job that is not queued is left as it is, for the caller.

    With `after`, the number of the last record that the caller has seen, only if that is still the last one. Raises
    `JobStateError` for a job that is over or runs, and where somebody else was first.
    """
    state = _as_seen(job, after)
    if state.is_final:
        raise JobStateError(f"job {job.job_id} is {state.state}, expected one that is paused or has failed")
    if state.state == "running" and not (state.request and state.request.word == "pause"):
        raise JobStateError(f"job {job.job_id} is running{_where(state)}, expected one that is paused or has failed")
    if state.state == "running" or state.queued:
        _add(job, "resume", after)
    return job.state()


def step(job: JobHandle, after: int | None = None) -> JobState:
    """Request that a job pauses after one more stage: the one it is running, or of a paused job, the next.

    A job that is neither queued nor running is left as it is: the caller runs it, with `RunRequest.one_stage`.
    `after` is as in `resume`. Raises `JobStateError` for a job that is over, and where somebody else was first.
    """
    state = _as_seen(job, after)
    if state.is_final:
        raise JobStateError(f"job {job.job_id} is {state.state}, expected one that is not over")
    if state.state == "running" or state.queued:
        _add(job, "step", after)
    return job.state()


def wait(job: JobHandle, states: set[str], seconds: float) -> JobState:
    """Return the state of a job once it is one of these or the job has ended, or after so many seconds."""
    until = time.monotonic() + seconds
    while (state := job.state()).state not in states and not state.ended and time.monotonic() < until:
        time.sleep(paths.poll_interval_s(job.workspace.root, _LOOK_S, _LOOK_FAR_S))
    return state


def clear(job: JobHandle) -> None:
    """Delete the records of a job that is over, and its rows in `runs` and `stage_runs`; what it computed stays.

    Raises `JobStateError`, with every reason, for a job that is not over or that something refers to.
    """
    from jobs.runs import job_rows

    root = job.workspace.root
    state = job.state()
    problems = []
    if not state.ended:
        problems.append(f"job {job.job_id} is {state.state}; expected one that is done, failed or cancelled")
    problems += job_rows.references(root, job.job_id)
    if problems:
        raise JobStateError(problems)
    # The records last: what is cut short here can be cleared again.
    job_rows.delete(root, job.job_id)
    # A job whose first record is missing is no longer listed, even if deleting the rest is interrupted.
    (job.job_log.folder / "000001.json").delete()
    job.job_log.folder.delete_tree()


def hand_to_queue(job: JobHandle, data: Mapping[str, Any], number: int) -> JobState:
    """Give a job that no process runs, and that was not queued, to the gateways; `data` has its options.

    Raises `JobStateError` where it is no longer as it was at record `number`.
    """
    _add(job, "submitted", number, data)
    return job.state()


def _ask(job: JobHandle, word: str, answered: set[str], after: int | None = None) -> JobState:
    state = _as_seen(job, after)
    # The same request twice counts once.
    if state.state not in answered and not (state.request and state.request.word == word):
        _add(job, word, after)
    return job.state()


def _as_seen(job: JobHandle, after: int | None) -> JobState:
    state = job.state()
    if after is not None and state.number != after:
        raise JobStateError(f"job {job.job_id} is {state.state} by now: somebody, or the job itself, was first")
    return state


def _add(job: JobHandle, word: str, after: int | None, data: Mapping[str, Any] | None = None) -> None:
    if job.job_log.add(word, data, after) is None:
        state = job.state()
        raise JobStateError(f"job {job.job_id} is {state.state} by now: somebody, or the job itself, was first")


def _where(state: JobState) -> str:
    holder = state.holder or {}
    place = "" if is_here(holder) else f" on {holder.get('host')}"
    return f", by process {holder.get('pid')}{place}" if holder else ""
