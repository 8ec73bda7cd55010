"""Journals that pages read in pieces, however long: the lines of those that were read last stay in memory."""

from __future__ import annotations

import json
from collections import OrderedDict
from contextlib import suppress
from threading import Lock
from typing import Any

from jobs.records.journal import JournalReader
from jobs.storage.paths import Place
from jobs.web.plain import utc

MOST_BYTES = 64 << 20
"""Bytes of lines that are kept, those of the journal being read aside."""

MOST_EVENTS = 2000
"""Events of an answer."""


class _Journal:
    def __init__(self, root: Place, job_id: str) -> None:
        self._reader = JournalReader(root, job_id)
        self.lines: list[bytes] = []
        self.n_bytes = 0

    def read_on(self) -> None:
        for event in self._reader.new():
            line = json.dumps(event, separators=(",", ":")).encode()
            self.lines.append(line)
            self.n_bytes += len(line)


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
            journal = self._known.pop((str(root), job_id), None) or _Journal(root, job_id)
            journal.read_on()
            self._known[(str(root), job_id)] = journal
            total = sum(known.n_bytes for known in self._known.values())
            while total > MOST_BYTES and len(self._known) > 1:
                total -= self._known.popitem(last=False)[1].n_bytes
            lines, last = journal.lines, len(journal.lines)
        found: list[dict[str, Any]] = []
        n = after
        while n < last and len(found) < min(limit, MOST_EVENTS):
            n += 1
            event: dict[str, Any] = {}
            with suppress(ValueError):
                event = json.loads(lines[n - 1])
            if (stage is not None and event.get("stage") != stage) or (only_errors and not event.get("error")):
                continue
            at = utc(event.pop("at_ns", None))
            found.append({"n": n, "at": at, **{k: v for k, v in event.items() if k != "job_id"}})
        return {"events": found, "next": n, "last": last}
