"""When loops end: each rule at its limit."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.active_learning.loop_log import LoopRound, LoopState, LoopStep
from jobs.active_learning.options import LoopOptions, Step
from jobs.active_learning.spending import BudgetLeft
from jobs.active_learning.stop_rules import decide, rounds_without_gain

PLENTY = BudgetLeft(100, 1.0, None)
GOOD: dict[str, Any] = {"AP50": 0.5, "verdict": "better"}


def loop(*evaluations: dict[str, Any], review: dict[str, int] | None = None, frames: int = 5, **more: Any) -> LoopState:
    given: dict[str, Any] = {"target": "AP50=0.9", "rounds": 9, "patience": 3, **more}
    options = LoopOptions(name="yard", inputs=("a",), model="m", on="release:t", **given)
    state = LoopState(options, 1, "j")
    for number, evaluation in enumerate(evaluations, 1):
        found: dict[Step, dict[str, Any]] = {
            "route": {"frames": frames},
            "review": review or {"approved": 5, "corrected": 5, "added": 0, "rejected": 0},
            "evaluate": evaluation,
        }
        state.rounds.append(LoopRound(number, {step: LoopStep(step, 1, result=each) for step, each in found.items()}))
    return state


@pytest.mark.parametrize(
    ("state", "left", "ending", "why"),
    [
        (loop(GOOD), PLENTY, None, "AP50 is 0.500, the target 0.9; 100 frames are left"),
        (loop({"AP50": 0.9, "verdict": "worse"}), BudgetLeft(0, 0, 0), "target_met", "AP50 is 0.900"),
        (loop({"AP50": 0.8999, "verdict": "better"}), PLENTY, None, "100 frames"),
        (loop(GOOD), BudgetLeft(0, 1, None), "budget_spent", "all of 300 frames"),
        (loop(GOOD, minutes=5), BudgetLeft(9, 1, 0.0), "budget_spent", "the 5 minutes of training"),
        # Money bounds questions, and no more than these.
        (loop(GOOD), BudgetLeft(9, 0.0, None), None, "9 frames are left"),
        (loop(GOOD, GOOD, rounds=2), PLENTY, "budget_spent", "all 2 rounds"),
        (loop({}, frames=0), PLENTY, "nothing_left", "AP50 is unknown"),
        (loop(GOOD, review={"approved": 50, "corrected": 1}), PLENTY, "few_corrections", "1 of 51 objects"),
        (loop(GOOD, review={"approved": 49, "corrected": 1}), PLENTY, None, ""),
        (loop(GOOD, review={"approved": 48, "corrected": 0}), PLENTY, None, ""),
    ],
)
def test_each_rule_holds_at_its_limit(state: LoopState, left: BudgetLeft, ending: str | None, why: str) -> None:
    found, said = decide(state, left)
    assert found == ending
    assert why in said


def test_that_nobody_can_tell_is_no_gain() -> None:
    unsure, none, first = ({"AP50": 0.5, "verdict": word} for word in ("cannot_tell", "not_better", "first"))
    assert rounds_without_gain(loop(first, unsure, none)) == 2
    assert decide(loop(first, unsure, none), PLENTY)[0] is None
    ending, why = decide(loop(first, unsure, none, unsure), PLENTY)
    assert (ending, "3 rounds in a row" in why) == ("no_gain", True)
    assert decide(loop(first, unsure, none, GOOD), PLENTY)[0] is None


def test_a_round_that_was_undone_counts_for_no_rule() -> None:
    state = loop(GOOD, {"AP50": 0.5, "verdict": "worse"}, GOOD, rounds=3)
    assert decide(state, PLENTY)[0] == "budget_spent"
    state.rounds[1].is_undone = True
    assert decide(state, PLENTY)[0] is None
