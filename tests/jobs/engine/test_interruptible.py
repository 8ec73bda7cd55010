from __future__ import annotations

from threading import Event

import pytest

from jobs.core.errors import RunStopped
from jobs.engine.interruptible import beside
from transforms.curate.duplicates import hamming


def test_results_are_returned_and_exceptions_raised() -> None:
    assert beside(lambda: 7, lambda: None) == 7
    assert beside(lambda: None, lambda: None) is None
    with pytest.raises(ZeroDivisionError):
        beside(lambda: 1 // 0, lambda: None)


def test_an_interrupt_does_not_wait_for_the_computation() -> None:
    never, begun = Event(), Event()

    def compute() -> None:
        begun.set()
        never.wait()

    def check() -> None:
        assert begun.wait(10)
        raise RunStopped("paused")

    with pytest.raises(RunStopped):
        beside(compute, check)
    never.set()


def test_grouping_releases_the_interpreter_lock() -> None:
    assert hamming._join_leaders.targetoptions["nogil"]
