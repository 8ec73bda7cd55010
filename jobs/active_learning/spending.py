"""What a loop has used of its budgets, counted from what is on record, and what is left."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import schemas
from jobs.active_learning.loop_log import LoopRound, LoopState
from jobs.storage.store import Store


@dataclass(frozen=True)
class Spending:
    """Frames that people were asked about, USD for questions, and minutes of training, of a loop or a round."""

    frames: int
    usd: float
    minutes: float


@dataclass(frozen=True)
class BudgetLeft:
    """What is left: frames, USD, and minutes of training; None for minutes without a limit."""

    frames: int
    usd: float
    minutes: float | None


def spent(store: Store, state: LoopState) -> Spending:
    """Return what all rounds have used, those that were undone among them."""
    rounds = [of_round(store, each) for each in state.rounds]
    return Spending(
        sum(each.frames for each in rounds), sum(each.usd for each in rounds), sum(each.minutes for each in rounds)
    )


def of_round(store: Store, each: LoopRound) -> Spending:
    """Return what a round has used; money by `escalations`, also where the job that spent it came to nothing."""
    jobs = {found.job_id for found in each.steps.values() if found.job_id}
    frames = int(each.result("route").get("frames", 0))
    return Spending(frames, _usd(store, jobs), float(each.result("train").get("minutes", 0.0)))


def left(store: Store, state: LoopState) -> BudgetLeft:
    """Return what a loop may still use."""
    options, used = state.options, spent(store, state)
    minutes = None if options.minutes is None else max(0.0, options.minutes - used.minutes)
    return BudgetLeft(max(0, options.people - used.frames), max(0.0, options.usd - used.usd), minutes)


def _usd(store: Store, jobs: Collection[str | None]) -> float:
    rows = store.read(schemas.ESCALATIONS, ("job_id", "cost_usd")).to_pylist()
    return float(sum(row["cost_usd"] for row in rows if row["job_id"] in jobs))
