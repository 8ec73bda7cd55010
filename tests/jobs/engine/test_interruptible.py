from __future__ import annotations

from threading import Event

import pytest

from jobs.core.errors import RunStopped
from jobs.engine.interruptible import beside
from tests.waiting import PATIENCE_S
from transforms.curate.duplicates import hamming


def test_what_is_computed_is_returned_and_what_goes_wrong_is_raised() -> None:
    assert beside(lambda: 7, lambda: None) == 7
    assert beside(lambda: None, lambda: None) is None
    with pytest.raises(ZeroDivisionError):
        beside(lambda: 1 // 0, lambda: None)


def test_whoever_wants_the_run_to_end_does_not_wait_for_what_is_being_computed() -> None:
    never, begun = Event(), Event()

    def compute() -> None:
        begun.set()
        never.wait()

    def check() -> None:
        assert begun.wait(PATIENCE_S)
        raise RunStopped("paused")

    with pytest.raises(RunStopped):
        beside(compute, check)
    never.set()


def test_grouping_lets_others_run_meanwhile() -> None:
    assert hamming._join_leaders.targetoptions["nogil"]
