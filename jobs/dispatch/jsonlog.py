"""A log of JSON lines, one for each event, that never grows beyond a few megabytes."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections import deque
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from typing import Any

from jobs.storage.paths import Place

_BYTES = 4 << 20
_FILES = 3
_EVENTS = 1000


class _SafeRotatingHandler(RotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Do nothing: a log that cannot be written must not stop jobs."""


class _ObjectHandler(logging.Handler):
    """Rewrites the object with the last events for each new one: a job has few, and only one gateway writes them."""

    def __init__(self, file: Place) -> None:
        super().__init__()
        self._file = file
        self._lines: deque[str] = deque(maxlen=_EVENTS)
        with suppress(OSError):
            self._lines.extend(file.read().decode(errors="replace").splitlines())

    def emit(self, record: logging.LogRecord) -> None:
        """Write an event; a store that is away must not stop jobs."""
        self._lines.append(record.getMessage())
        with suppress(OSError):
            self._file.write("".join(f"{line}\n" for line in self._lines).encode())


class JsonLog:
    """Writes events to a file, and to standard error as well with `aloud`."""

    def __init__(self, path: Place, aloud: bool = False) -> None:
        path.parent.make_folder()
        self._handlers: list[logging.Handler] = [_handler(path)]
        if aloud:
            self._handlers.append(logging.StreamHandler(sys.stderr))

    def write(self, event: str, **details: Any) -> None:
        """Log an event; details that are None are left out."""
        line = {"at_ns": time.time_ns(), "event": event} | {n: v for n, v in details.items() if v is not None}
        record = logging.LogRecord("winnow", logging.INFO, "", 0, json.dumps(line), None, None)
        for handler in self._handlers:
            handler.emit(record)


def _handler(path: Place) -> logging.Handler:
    file = path.on_disk()
    return _ObjectHandler(path) if file is None else _SafeRotatingHandler(file, maxBytes=_BYTES, backupCount=_FILES)
