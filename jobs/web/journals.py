"""Journals that pages read in pieces, however long: the lines of those that were read last stay in memory."""

from __future__ import annotations

import json
import re
from array import array
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from typing import Any, Literal

from jobs.records.journal import JournalReader
from jobs.storage.paths import Place
from jobs.web.plain import utc

MOST_BYTES = 64 << 20
"""Bytes of lines that are kept, those of the journal being read aside."""

MOST_EVENTS = 2000
"""Events of an answer."""

Level = Literal["detail", "step", "warning", "error"]
LEVELS: tuple[Level, ...] = ("detail", "step", "warning", "error")
"""How much an event matters: what blocks and commits report, steps of the run, frames that failed, the run's end."""

_DETAILS = frozenset({b"block_done", b"committed", b"objects_seen"})
_MOST_FILTERS = 4
_EVENT = re.compile(rb'"event": ?"(\w+)"')
_STAGE = re.compile(rb'"stage": ?"([^"\\]*)"')
_FAILED = b"run_failed"
_ERROR = re.compile(rb'"error": ?"')


@dataclass(frozen=True)
class Filter:
    """Which events are wanted: of a stage, of a level or above, with a text anywhere in their line."""

    stage: str | None = None
    level: Level = "detail"
    text: str = ""

    @property
    def takes_all(self) -> bool:
        """Return whether every event is wanted."""
        return self == Filter()


class _Journal:
    def __init__(self, root: Place, job_id: str) -> None:
        self._reader = JournalReader(root, job_id)
        self.lines: list[bytes] = []
        self.levels = bytearray()
        self.stages: list[bytes] = []
        self.n_bytes = 0
        self._names: dict[bytes, bytes] = {b"": b""}
        self._found: OrderedDict[Filter, tuple[int, array[int]]] = OrderedDict()

    def read_on(self) -> None:
        for line in self._reader.new_lines():
            self.lines.append(line)
            self.n_bytes += len(line)
            self.levels.append(_level(line))
            stage = found[1] if (found := _STAGE.search(line)) else b""
            self.stages.append(self._names.setdefault(stage, stage))

    def stage_names(self) -> list[str]:
        return sorted(name.decode() for name in self._names if name)

    def numbers(self, wanted: Filter) -> array[int]:
        """Return the numbers of the lines that a filter takes, from 0; only what is new is compared."""
        until, found = self._found.pop(wanted, (0, array("L")))
        stage = None if wanted.stage is None else wanted.stage.encode()
        text, least = wanted.text.lower().encode(), LEVELS.index(wanted.level)
        for n in range(until, len(self.lines)):
            if (
                self.levels[n] >= least
                and (stage is None or self.stages[n] == stage)
                and (not text or text in self.lines[n].lower())
            ):
                found.append(n)
        self._found[wanted] = (len(self.lines), found)
        while len(self._found) > _MOST_FILTERS:
            self._found.popitem(last=False)
        return found


class Journals:
    """The journals of all projects; safe to use from many threads."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], _Journal] = OrderedDict()
        self._one = Lock()

    def events(
        self, root: Place, job_id: str, after: int, limit: int, stage: str | None = None, only_errors: bool = False
    ) -> dict[str, Any]:
        """Return events that follow number `after` (the first one is 1), and `last`, the number of the newest one.

        `next` is what to give as `after` for those that follow; with a filter it may be beyond the last event returned.
        """
        with self._one:
            journal = self._read(root, job_id)
            lines, last = journal.lines, len(journal.lines)
        found: list[dict[str, Any]] = []
        n = after
        while n < last and len(found) < min(limit, MOST_EVENTS):
            n += 1
            event = _event(n, lines[n - 1])
            if (stage is None or event.get("stage") == stage) and (not only_errors or event.get("error")):
                found.append(event)
        return {"events": found, "next": n, "last": last}

    def page(self, root: Place, job_id: str, start: int, limit: int, wanted: Filter) -> dict[str, Any]:
        """Return events of those that a filter takes, from position `start` on (the first one is at 0).

        `total` is how many it takes, `last` how many there are, `stages` the names of those that have any.
        """
        with self._one:
            journal = self._read(root, job_id)
            last, stages, lines = len(journal.lines), journal.stage_names(), journal.lines
            numbers = range(last) if wanted.takes_all else journal.numbers(wanted)
            total = len(numbers)
            chosen = list(numbers[start : start + min(limit, MOST_EVENTS)])
        events = [_event(n + 1, lines[n]) for n in chosen]
        return {"events": events, "start": start, "total": total, "last": last, "stages": stages}

    def _read(self, root: Place, job_id: str) -> _Journal:
        journal = self._known.pop((str(root), job_id), None) or _Journal(root, job_id)
        journal.read_on()
        self._known[(str(root), job_id)] = journal
        total = sum(known.n_bytes for known in self._known.values())
        while total > MOST_BYTES and len(self._known) > 1:
            total -= self._known.popitem(last=False)[1].n_bytes
        return journal


def _level(line: bytes) -> int:
    """Return the level of an event by its line, as a position in `LEVELS`; the line is not parsed, since many are."""
    name = found[1] if (found := _EVENT.search(line)) else b""
    if name == _FAILED:
        return 3
    if _ERROR.search(line):
        return 2
    return 0 if name in _DETAILS else 1


def _event(n: int, line: bytes) -> dict[str, Any]:
    event: dict[str, Any] = {}
    with suppress(ValueError):
        found = json.loads(line)
        event = found if isinstance(found, dict) else {}
    at = utc(event.pop("at_ns", None))
    shown = {name: value for name, value in event.items() if name != "job_id"}
    return {"n": n, "at": at, "level": LEVELS[_level(line)], **shown}
