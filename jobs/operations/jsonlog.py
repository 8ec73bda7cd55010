"""A log of JSON lines, one for each event, that never grows beyond a few megabytes."""

from __future__ import annotations

import json
import logging
import sys
import time
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

_BYTES = 4 << 20
_FILES = 3


class _Patient(RotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Do nothing: a log that cannot be written must not keep jobs from being done."""


class JsonLog:
    """Writes events to a file, and to standard error as well with `aloud`."""

    def __init__(self, path: Path, aloud: bool = False) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._handlers: list[logging.Handler] = [_Patient(path, maxBytes=_BYTES, backupCount=_FILES)]
        if aloud:
            self._handlers.append(logging.StreamHandler(sys.stderr))

    def write(self, event: str, **details: Any) -> None:
        """Write down an event; what is None stays out of the line."""
        line = {"at_ns": time.time_ns(), "event": event} | {n: v for n, v in details.items() if v is not None}
        record = logging.LogRecord("winnow", logging.INFO, "", 0, json.dumps(line), None, None)
        for handler in self._handlers:
            handler.emit(record)


def tail(path: Path, n: int) -> list[dict[str, Any]]:
    """Return the last `n` events of a log, oldest first."""
    try:
        lines = path.read_bytes().splitlines()[-n:]
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        with suppress(ValueError):
            found.append(json.loads(line))
    return found
