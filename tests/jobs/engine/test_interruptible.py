from __future__ import annotations

from collections.abc import Iterator
from threading import Event

import pytest

from jobs.core.errors import RunStopped
from jobs.engine.interruptible import iterate_interruptibly, run_interruptibly
from tests.waiting import PATIENCE_S
from transforms.curate.duplicates import leader_search


def test_results_are_returned_and_errors_raised_in_the_caller() -> None:
    assert run_interruptibly(lambda: 7, lambda: None) == 7
    assert run_interruptibly(lambda: None, lambda: None) is None
    with pytest.raises(ZeroDivisionError):
        run_interruptibly(lambda: 1 // 0, lambda: None)


def test_an_interrupt_does_not_wait_for_the_computation() -> None:
    never, begun = Event(), Event()

    def compute() -> None:
        begun.set()
        never.wait()

    def check() -> None:
        assert begun.wait(PATIENCE_S)
        raise RunStopped("paused")

    with pytest.raises(RunStopped):
        run_interruptibly(compute, check)
    never.set()


def test_grouping_releases_the_interpreter_lock() -> None:
    assert leader_search._search_ahead.targetoptions["nogil"]
    assert leader_search._settle.targetoptions["nogil"]


def test_items_come_in_order_with_none_while_there_are_none() -> None:
    go_on = Event()

    def items() -> Iterator[int]:
        yield 1
        go_on.wait()
        yield 2

    found = iterate_interruptibly(items)
    assert next(found) == 1
    assert next(found) is None
    go_on.set()
    assert [item for item in found if item is not None] == [2]
    with pytest.raises(ZeroDivisionError):
        list(iterate_interruptibly(lambda: (1 // 0 for _ in range(1))))
