"""Locks, of a file or an object, that name their holder and that a dead process does not hold."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from jobs.storage.leases import Lease, lease_holder
from jobs.storage.paths import Place

_TRIES = 20
_PAUSE_S = 0.05
_MOST_BYTES = 1 << 16


class Lock(Protocol):
    """Held by at most one process."""

    lost: bool
    """Whether it was held and another process may hold it by now."""

    def take(self, about: Mapping[str, Any]) -> bool:
        """Take the lock and note `about` next to it; False if another process has it."""

    def describe(self, about: Mapping[str, Any]) -> None:
        """Replace the note about the holder of a lock that is held."""

    def release(self) -> None:
        """Release the lock."""


def lock_at(at: Place) -> Lock:
    """Return the lock of a path, without taking it."""
    file = at.on_disk()
    return Lease(at) if file is None else FileLock(file)


class FileLock:
    """Held by at most one process; the system releases it when that process ends for any reason."""

    lost = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: int | None = None

    def take(self, about: Mapping[str, Any]) -> bool:
        """Take the lock and write `about` into its file; False if another process has it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        # A query for the holder holds it too, for a moment.
        for _ in range(_TRIES):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(_PAUSE_S)
        else:
            os.close(handle)
            return False
        self._handle = handle
        self.describe(about)
        return True

    def describe(self, about: Mapping[str, Any]) -> None:
        """Replace the note about the holder, in the file of a lock that is held."""
        assert self._handle is not None
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, json.dumps(about).encode() + b"\n", 0)

    def release(self) -> None:
        """Release the lock. Its file stays: another process may be waiting for a lock of this very file."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def lock_holder(path: Place) -> dict[str, Any] | None:
    """Return what the process that holds a lock noted about itself; None if no process holds it."""
    file = path.on_disk()
    if file is None:
        return lease_holder(path)
    try:
        handle = os.open(file, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        for _ in range(_TRIES):
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                # It may be about to write its note.
                with suppress(ValueError):
                    return dict(json.loads(os.pread(handle, _MOST_BYTES, 0)))
                time.sleep(_PAUSE_S)
            else:
                return None
        return {}
    finally:
        os.close(handle)
