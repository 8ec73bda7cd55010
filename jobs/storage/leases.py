"""Lock in a bucket: a lease, a record that its holder keeps renewing and that expires otherwise.

Every change of the record is conditional on its entity tag, so that of two processes that want it one gets it. A
holder that could not renew it for as long as it lasts treats it as lost.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from threading import Event, RLock, Thread
from typing import Any, NamedTuple

from jobs.core.processes import has_ended, is_here
from jobs.storage import paths
from jobs.storage.paths import Place
from transforms.io import object_store

LASTS_S = 60.0
"""How long a lease holds after it was last renewed."""

_RENEWED_S = 15.0


class _Record(NamedTuple):
    """State of a lease: the note of its holder, when it was renewed by the store's clock, and its entity tag."""

    about: dict[str, Any] | None
    token: str
    renewed_s: float
    etag: str


class Lease:
    """Held by at most one process, until it releases the lease or stops renewing it."""

    def __init__(self, at: Place) -> None:
        self.at = at
        self.lost = False
        self._token = secrets.token_hex(8)
        self._about: dict[str, Any] = {}
        self._etag = ""
        self._renewed = 0.0
        self._one = RLock()
        self._over = Event()
        self._thread: Thread | None = None

    def take(self, about: Mapping[str, Any]) -> bool:
        """Take the lease and note `about` in it; False if another process has it."""
        found = _read(self.at)
        if found is not None and found.about is not None and not _is_over(found, paths.now_s(self.at.parent)):
            return False
        self._about = dict(about)
        text = self._text()
        began = time.monotonic()
        etag = (
            object_store.put_new(str(self.at), text)
            if found is None
            else object_store.put_over(str(self.at), text, found.etag)
        )
        if etag is None:
            return False
        self._etag, self._renewed = etag, began
        self._thread = Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()
        return True

    def _text(self) -> bytes:
        return json.dumps({"about": self._about, "token": self._token, "beat": secrets.token_hex(4)}).encode() + b"\n"

    def _keep(self) -> None:
        while not self._over.wait(_RENEWED_S):
            with suppress(OSError):
                self._renew()
            if time.monotonic() - self._renewed > LASTS_S:
                self.lost = True
            if self.lost:
                return

    def _renew(self) -> None:
        with self._one:
            began = time.monotonic()
            etag = object_store.put_over(str(self.at), self._text(), self._etag)
            if etag is None:
                found = _read(self.at)
                if found is None or found.token != self._token:
                    self.lost = True
                    return
                etag = found.etag
            self._etag, self._renewed = etag, began

    def describe(self, about: Mapping[str, Any]) -> None:
        """Replace the note about the holder of a lease that is held."""
        self._about = dict(about)
        self._renew()

    def release(self) -> None:
        """Release the lease."""
        if self._thread is None:
            return
        self._over.set()
        self._thread.join()
        self._thread = None
        if not self.lost:
            text = json.dumps({"about": None, "token": self._token, "beat": os.getpid()}).encode() + b"\n"
            # If that fails, the lease expires by itself.
            with suppress(OSError):
                object_store.put_over(str(self.at), text, self._etag)


def lease_holder(at: Place) -> dict[str, Any] | None:
    """Return what the process that holds a lease noted about itself; None if no process holds it."""
    found = _read(at)
    # For a mere query our own clock suffices: learning the time of the store takes a write.
    return None if found is None or found.about is None or _is_over(found, time.time()) else found.about


def _read(at: Place) -> _Record | None:
    try:
        data, entry = object_store.get(str(at))
    except FileNotFoundError:
        return None
    values = json.loads(data)
    return _Record(values["about"], values["token"], entry.mtime_ns // 10**9, entry.etag or "")


def _is_over(found: _Record, now_s: float) -> bool:
    holder = found.about or {}
    if is_here(holder) and has_ended(holder):
        return True
    return now_s - found.renewed_s > LASTS_S
