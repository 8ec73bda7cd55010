"""Long computations beside a wait that can be ended at any time."""

from __future__ import annotations

from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TypeVar

_LOOK_S = 0.2

T = TypeVar("T")


def beside(compute: Callable[[], T], check: Callable[[], None]) -> T:
    """Return what `compute` returns, or raise what it raises; it runs in a thread of its own.

    `check` is called meanwhile, several times a second. If it raises, that is raised at once: the thread is left to
    itself, and ends with the process if not before. So `compute` must change nothing that others see.
    """
    done: SimpleQueue[tuple[T | None, BaseException | None]] = SimpleQueue()

    def run() -> None:
        try:
            done.put((compute(), None))
        except BaseException as error:
            done.put((None, error))

    Thread(target=run, name="compute", daemon=True).start()
    while True:
        try:
            result, error = done.get(timeout=_LOOK_S)
        except Empty:
            check()
            continue
        if error is not None:
            raise error
        return result  # type: ignore[return-value]
