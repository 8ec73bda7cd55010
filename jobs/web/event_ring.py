"""Events of a server, numbered and kept for a while, so that a browser whose connection was cut misses none."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from dataclasses import dataclass
from typing import Any

KEPT = 10_000


@dataclass(frozen=True)
class Event:
    """Something that happened: `project` is None for what concerns everybody."""

    number: int
    kind: str
    project: str | None
    data: dict[str, Any]


class EventRing:
    """The newest events; belongs to the event loop. Ids name the server's start, since numbers begin at 1 with it."""

    def __init__(self, kept: int = KEPT) -> None:
        self.boot = secrets.token_hex(4)
        self._events: deque[Event] = deque(maxlen=kept)
        self._last = 0
        self._news = asyncio.Event()

    @property
    def last(self) -> int:
        """Return the number of the newest event; 0 for none."""
        return self._last

    def add(self, kind: str, project: str | None, data: dict[str, Any]) -> None:
        """Add an event and wake those who wait."""
        self._last += 1
        self._events.append(Event(self._last, kind, project, data))
        self._news.set()
        self._news = asyncio.Event()

    def after(self, number: int) -> list[Event] | None:
        """Return the events after a number, oldest first; None where some of them are no longer kept."""
        if number > self._last or (self._events and number < self._events[0].number - 1):
            return None
        return [event for event in self._events if event.number > number]

    async def wait(self, seconds: float) -> None:
        """Wait until there is another event, or so long."""
        try:
            await asyncio.wait_for(self._news.wait(), seconds)
        except TimeoutError:
            return

    def id_of(self, number: int) -> str:
        """Return the id that a browser sends back to continue after an event."""
        return f"{self.boot}-{number}"

    def number_of(self, event_id: str | None) -> int | None:
        """Return the number of an id; None for one of another start of the server, or none."""
        boot, _, number = (event_id or "").partition("-")
        return int(number) if boot == self.boot and number.isdecimal() else None
