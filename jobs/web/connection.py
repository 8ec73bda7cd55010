"""Connections of clients: one that sends its request too slowly is closed, so that nobody holds thousands of them."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 15.0
"""Seconds in which the head of a request has to be there, from the first byte or the beginning of the connection."""


class Connection(H11Protocol):
    """A connection that is closed where no whole head of a request comes in time."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Take bytes, and wait on unless they end the head of a request."""
        is_between = self.cycle is None or self.cycle.response_complete
        super().data_received(data)
        if not (self.cycle is None or self.cycle.response_complete):
            self._stop_waiting()
        elif is_between and self._waiting is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop to wait."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._waiting = self.loop.call_later(HEAD_S, self._close)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _close(self) -> None:
        self._waiting = None
        if not self.transport.is_closing():
            self.transport.close()
