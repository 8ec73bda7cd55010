"""When a loop ends: its target is reached, a budget is used up, or more of the same does not help."""

from __future__ import annotations

from typing import Literal

from jobs.active_learning.loop_log import LoopState
from jobs.active_learning.spending import BudgetLeft

Ending = Literal["target_met", "budget_spent", "no_gain", "few_corrections", "nothing_left"]

GAIN = ("first", "better")
"""The verdicts of an evaluation that count as a gain; nobody being able to tell is none."""

_FEW_CORRECTIONS = 0.02
_FEWEST_OBJECTS = 50
"""With fewer objects, a share of 2 % says nothing."""

_LEAST_MINUTES = 0.01


def decide(state: LoopState, left: BudgetLeft) -> tuple[Ending | None, str]:
    """Return how a loop ends with its last round, None where it continues, and why."""
    metric, target = state.options.goal
    reached = state.rounds[-1].result("evaluate").get(metric)
    said = f"{metric} is {figure(reached)}, the target {target:g}"
    if reached is not None and reached >= target:
        return "target_met", said
    for ending, why in (_no_more_to_learn(state), _no_budget(state, left)):
        if ending is not None:
            return ending, f"{said}; {why}"
    rest = f"{left.frames:,} frames" + ("" if left.minutes is None else f" and {left.minutes:.1f} minutes of training")
    return None, f"{said}; {rest} are left"


def _no_more_to_learn(state: LoopState) -> tuple[Ending | None, str]:
    now = state.rounds[-1]
    if not now.result("route").get("frames"):
        return "nothing_left", "there is no frame left that nobody has reviewed"
    review = now.result("review")
    changed = sum(review.get(name, 0) for name in ("corrected", "added", "rejected"))
    objects = changed + review.get("approved", 0)
    if objects >= _FEWEST_OBJECTS and changed < _FEW_CORRECTIONS * objects:
        return "few_corrections", f"people changed {changed:,} of {objects:,} objects, under 2 %"
    since = rounds_without_gain(state)
    if since >= state.options.patience:
        return "no_gain", f"{since} rounds in a row without a version that is better for sure"
    return None, ""


def _no_budget(state: LoopState, left: BudgetLeft) -> tuple[Ending | None, str]:
    options = state.options
    if left.frames <= 0:
        return "budget_spent", f"people have been asked about all of {options.people:,} frames"
    if left.minutes is not None and left.minutes < _LEAST_MINUTES:
        return "budget_spent", f"the {options.minutes:g} minutes of training are used up"
    if len(state.counted) >= options.rounds:
        return "budget_spent", f"all {options.rounds} rounds are done"
    return None, ""


def rounds_without_gain(state: LoopState) -> int:
    """Return how many of the last rounds in a row had no gain."""
    count = 0
    for each in reversed(state.counted):
        if each.result("evaluate").get("verdict") in GAIN:
            break
        count += 1
    return count


def figure(value: float | None) -> str:
    """Return a figure as it is printed."""
    return "unknown" if value is None else f"{value:.3f}"
