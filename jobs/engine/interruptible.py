"""Long computations in a thread that the caller can abandon at any time."""

from __future__ import annotations

from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TypeVar

_LOOK_S = 0.2

T = TypeVar("T")


def beside(compute: Callable[[], T], check: Callable[[], None]) -> T:
    """Return the result of `compute`, or raise its exception; it runs in a separate thread.

    Meanwhile `check` is called several times a second. If it raises, that exception is raised at once: the thread is
    abandoned, and ends with the process at the latest. So `compute` must not change anything visible to others.
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
