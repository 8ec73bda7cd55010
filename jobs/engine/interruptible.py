"""Work in a thread of its own, which the main thread can stop waiting for at any time."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from queue import Empty, Queue, SimpleQueue
from threading import Event, Thread
from typing import TypeVar

T = TypeVar("T")

_CHECK_S = 0.2
_TICK_S = 0.5
_JOIN_S = 5.0


def run_interruptibly(compute: Callable[[], T], check: Callable[[], None]) -> T:
    """Return what `compute` returns, or raise what it raises; it runs in a thread of its own.

    `check` is called meanwhile, several times a second. If it raises, that is raised at once: the thread is abandoned,
    and ends with the process at the latest. So `compute` must change nothing that others see.
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
            result, error = done.get(timeout=_CHECK_S)
        except Empty:
            check()
            continue
        if error is not None:
            raise error
        return result  # type: ignore[return-value]


def iterate_interruptibly(make: Callable[[], Iterable[T]]) -> Generator[T | None, None, None]:
    """Iterate over what `make` returns in a thread of its own, and yield its items; none of them is None.

    Yields None about twice a second while there is no item, so that the caller can do other things. Closing the
    iterator stops the thread after its current item, and waits a few seconds for that.
    """
    queue: Queue[T | BaseException | None] = Queue()
    stop = Event()

    def pull() -> None:
        try:
            for item in make():
                queue.put(item)
                if stop.is_set():
                    return
            queue.put(None)
        except BaseException as error:
            queue.put(error)

    thread = Thread(target=pull, name="iterate", daemon=True)
    thread.start()
    try:
        while True:
            try:
                item = queue.get(timeout=_TICK_S)
            except Empty:
                yield None
                continue
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        # Ray ends a process that asks for a result after it was shut down, with an exit code of its own.
        thread.join(_JOIN_S)
