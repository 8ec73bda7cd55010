"""What a loop has done and why, as records for pages and as lines for people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jobs.active_learning import people, spending
from jobs.active_learning.loop_log import LoopLog, LoopRound, LoopState, loops_of
from jobs.active_learning.loop_tables import CurvePoint, curve, state_of
from jobs.active_learning.options import LoopOptions, Step
from jobs.active_learning.spending import BudgetLeft, Spending
from jobs.core.errors import UserError
from jobs.records.job_log import JobLog, seen
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace


@dataclass(frozen=True)
class LoopStatus:
    """Where a loop stands.

    `state` is its step, or how it ended, as in the table `loops`; `why`, why it is there; `job_state` the state of its
    job, and `error` why that failed. `review`, while it waits for people: the folder of their files, and how many
    frames they have reviewed, of how many.
    """

    name: str
    state: str
    why: str
    job_id: str
    job_state: str
    error: str | None
    round: int
    step: Step | None
    options: LoopOptions
    spent: Spending
    left: BudgetLeft
    review: tuple[Path, int, int] | None

    @property
    def is_over(self) -> bool:
        """Return whether it has ended, for any reason."""
        return self.step is None


@dataclass(frozen=True)
class StepAccount:
    """A step of a round: its job, and what came of it; None for `why` while it lasts."""

    step: Step
    job_id: str | None
    why: str | None


@dataclass(frozen=True)
class RoundAccount:
    """A round with its steps so far."""

    number: int
    is_undone: bool
    steps: tuple[StepAccount, ...]


def known(workspace: Workspace, name: str) -> tuple[LoopLog, LoopState]:
    """Return the records of a loop and where they say that it is. Raises `UserError` for one that is not there."""
    root = workspace.require().root
    log = LoopLog(root, name)
    state = log.state()
    if state is None:
        raise UserError(f"there is no loop {name!r}; there are: {', '.join(loops_of(root)) or 'none yet'}")
    return log, state


def status(workspace: Workspace, name: str) -> LoopStatus:
    """Return where a loop stands. Raises `UserError` for one that is not there."""
    _, state = known(workspace, name)
    store = Store(workspace.root)
    job = seen(JobLog(workspace.root, state.job_id))
    at, why = state_of(state)
    current = state.current
    number = current.number if current else len(state.rounds) + (state.ended is None)
    step: Step | None = None if state.ended else (current.step if current else None) or "annotate"
    review = None
    if step == "review" and current is not None and "review" in current.steps:
        found = people.reviewed(workspace, name, number)
        review = (people.folder_of(workspace, name, number), int(found["frames"]), int(found["asked"]))
    return LoopStatus(
        name,
        at,
        why,
        state.job_id,
        job.state if job else "pending",
        job.error if job else None,
        number,
        step,
        state.options,
        spending.spent(store, state),
        spending.left(store, state),
        review,
    )


def accounts(workspace: Workspace, name: str) -> list[RoundAccount]:
    """Return what each round of a loop did, and why. Raises `UserError` for a loop that is not there."""
    _, state = known(workspace, name)
    return [_account(each) for each in state.rounds]


def curve_of(workspace: Workspace, name: str) -> list[CurvePoint]:
    """Return what a loop reached by round, over what it used. Raises `UserError` for a loop that is not there."""
    _, state = known(workspace, name)
    return curve(Store(workspace.root), state)


def _account(each: LoopRound) -> RoundAccount:
    steps = (StepAccount(step.step, step.job_id, step.why) for step in each.steps.values())
    return RoundAccount(each.number, each.is_undone, tuple(steps))


def lines(workspace: Workspace, name: str) -> Iterator[str]:
    """Yield what a loop has done and why, a line for each step."""
    for each in accounts(workspace, name):
        yield f"round {each.number}{', undone' if each.is_undone else ''}"
        for step in each.steps:
            by = f" (job {step.job_id})" if step.job_id else ""
            yield f"  {step.step}: {step.why or 'under way'}{by}"
    now = status(workspace, name)
    used, left, options = now.spent, now.left, now.options
    minutes = "" if options.minutes is None else f" of {options.minutes:g}"
    yield (
        f"used: {used.frames:,} of {options.people:,} frames of people, {used.usd:.4f} of {options.usd:g} USD, "
        f"{used.minutes:.1f}{minutes} minutes of training; left: {left.frames:,} frames"
    )
    job = "" if now.is_over else f"; its job is {now.job_state}"
    yield f"{now.state.replace('_', ' ')}: {now.error or now.why}{job}"
