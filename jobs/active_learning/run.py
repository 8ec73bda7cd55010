"""A loop as a job: one step after another, each recorded before it begins and with its result before the next one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from jobs.active_learning import loop_tables
from jobs.active_learning.loop_log import LoopLog, LoopRound, LoopState
from jobs.active_learning.options import Step
from jobs.active_learning.steps import RoundContext, WaitsForPeopleError, plan, result_of
from jobs.core.errors import JobWaits, UserError
from jobs.core.naming import new_job_id
from jobs.records.job_claim import JobClaim
from jobs.records.job_log import JobLog
from jobs.records.journal import Journal
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace

POLL_S = 60.0
"""How long a loop that waits for people leaves its place to other jobs before it counts again."""


class ChildJobs(Protocol):
    """Runs the jobs of a loop's steps."""

    def run(self, job_id: str, submitted: Mapping[str, Any]) -> Mapping[str, Any]:
        """Run a job under this id, or continue it, unless it is done, and return its result.

        Raises `RunStopped` where it was paused, `CancelledJobError`, and what it failed with.
        """


@dataclass(frozen=True)
class LoopJob:
    """What a loop needs of the job that it is."""

    workspace: Workspace
    job_id: str
    claim: JobClaim
    journal: Journal
    children: ChildJobs


class CancelledJobError(UserError):
    """The job of a step was cancelled; the next attempt at the step is another job."""


def run(job: LoopJob, name: str) -> dict[str, Any]:
    """Do the steps of a loop until it ends, and return what is recorded as the result of the job.

    Raises `JobWaits` where it waits for people, `RunStopped` when it was to end, and `UserError` for a step that
    failed, which is tried again when the loop is resumed.
    """
    log, store = LoopLog(job.workspace.root, name), Store(job.workspace.root)
    while True:
        state = log.state()
        if state is None:
            raise UserError(f"there is no loop {name}; its records are missing from {log.folder}")
        if state.ended is None and state.is_to_stop:
            log.add("ended", {"state": "stopped", "why": f"stopped by {state.stopped_by or 'somebody'}"})
            state = log.state()
            assert state is not None
        loop_tables.write(store, name, state)
        if state.ended is not None:
            return {"loop": name, "state": state.ended[0], "why": state.ended[1], "rounds": len(state.rounds)}
        job.claim.check()
        _do_next(job, log, store, state)


def _do_next(job: LoopJob, log: LoopLog, store: Store, state: LoopState) -> None:
    current = state.current or LoopRound(len(state.rounds) + 1)
    step = current.step
    assert step is not None, current
    context = RoundContext(job.workspace, store, state, current, job.job_id, time.time_ns())
    where = f"round {current.number}, {step}"
    try:
        begun = current.steps.get(step)
        if begun is None or _is_cancelled(job, begun.job_id):
            _begin(log, context, step)
            state = log.state() or state
            current = state.rounds[-1]
            begun = current.steps[step]
            context = RoundContext(job.workspace, store, state, current, job.job_id, context.now_ns)
            loop_tables.write(store, log.name, state)
        of_job = job.children.run(begun.job_id, begun.submitted) if begun.job_id else {}
        result, why = result_of(context, begun, of_job)
    except WaitsForPeopleError as waits:
        raise JobWaits(f"{where}: {waits}", POLL_S) from waits
    except UserError as error:
        raise type(error)([f"{where}: {line}" for line in error.problems]) from error
    log.add("done", {"round": current.number, "step": step, "result": result, "why": why})
    job.journal.write("stage_done", stage=f"round {current.number}: {step}", data={"why": why, **result})


def _begin(log: LoopLog, context: RoundContext, step: Step) -> None:
    """Record what a step is to do: where the same step was begun before, its job was cancelled."""
    planned = plan(context, step)
    named = {"job_id": new_job_id()} if "submitted" in planned else {}
    log.add("begun", {"round": context.round.number, "step": step, **named, **planned})


def _is_cancelled(job: LoopJob, job_id: str | None) -> bool:
    state = JobLog(job.workspace.root, job_id).state() if job_id else None
    return state is not None and state.state == "cancelled"
