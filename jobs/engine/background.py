"""Iterates over what may block in a thread of its own."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from queue import Empty, Queue
from threading import Event, Thread

import pyarrow as pa

_LOOK_S = 0.5
_ANSWER_S = 5.0


def in_background(make: Callable[[], Iterable[pa.Table]]) -> Generator[pa.Table | None, None, None]:
    """Iterate in a thread of its own, so that the main thread never blocks where it cannot be interrupted."""
    queue: Queue[pa.Table | BaseException | None] = Queue()
    stop = Event()

    def pull() -> None:
        try:
            for batch in make():
                queue.put(batch)
                if stop.is_set():
                    return
            queue.put(None)
        except BaseException as error:
            queue.put(error)

    thread = Thread(target=pull, name="receipts", daemon=True)
    thread.start()
    try:
        while True:
            try:
                item = queue.get(timeout=_LOOK_S)
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
        thread.join(_ANSWER_S)
