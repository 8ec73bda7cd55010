"""A watch over the connections of one call: it ends them when the time of the whole call is over.

A timeout of a library is for each read, so that an answer that trickles never ends.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from threading import Lock, Timer
from types import TracebackType
from typing import Any, Self


class ConnectionWatch:
    """Ends connections after `total_s` seconds. Use as a context manager, or call `stop`."""

    def __init__(self, total_s: float) -> None:
        self.is_over = False
        self._sockets: list[socket.socket] = []
        self._turn = Lock()
        self._timer = Timer(total_s, self._end)
        self._timer.daemon = True
        self._timer.start()

    def add(self, made: socket.socket) -> None:
        """Watch a connection, also after its socket was wrapped for TLS, which takes its number away."""
        own = socket.socket(fileno=os.dup(made.fileno()))
        with self._turn:
            self._sockets.append(own)
            if self.is_over:
                _shut(own)

    def on_event(self, name: str, about: dict[str, Any]) -> None:
        """Watch a connection that httpcore has made, as its extension `trace` reports it."""
        if name.endswith(("connect_tcp.complete", "start_tls.complete")):
            self.add(about["return_value"].get_extra_info("socket"))

    def _end(self) -> None:
        with self._turn:
            self.is_over = True
            for made in self._sockets:
                _shut(made)

    def stop(self) -> None:
        """End the watch, not the connections."""
        self._timer.cancel()
        with self._turn:
            for made in self._sockets:
                made.close()
            self._sockets.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _shut(made: socket.socket) -> None:
    # Unlike `close`, this wakes a thread that is reading.
    with suppress(OSError):
        made.shutdown(socket.SHUT_RDWR)
