"""Append-only files of lines: on disk by appending to a file, in a bucket by writing numbered objects.

Objects cannot be appended to. Lines are buffered for a few seconds and then written as the next numbered object below
the name of the file; when the log is closed, one object with all lines replaces them.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Protocol

from jobs.storage.paths import Place
from transforms.io import object_store

_EVERY_S = 2.0
_KEPT_BYTES = 1 << 20


class AppendLog(Protocol):
    """A log that is being written."""

    def append(self, text: bytes) -> None:
        """Add a line, which ends in a line break. Raises `OSError`, or keeps the line to write it later."""

    def close(self) -> None:
        """Write what is still buffered; no line can be added afterwards."""


def create_log(file: Place) -> AppendLog | None:
    """Create a log; None if there is one of this name."""
    path = file.on_disk()
    return _Objects.create(file) if path is None else _File.create(path)


class _File:
    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._torn = False

    @classmethod
    def create(cls, file: Path) -> _File | None:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            return cls(os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o644))
        except FileExistsError:
            return None

    def append(self, text: bytes) -> None:
        # A line that a full disk cut short must not spoil the next one.
        text = b"\n" + text if self._torn else text
        self._torn = os.write(self._handle, text) < len(text)

    def close(self) -> None:
        os.close(self._handle)


class _Objects:
    def __init__(self, file: Place) -> None:
        self._file = file
        self._waiting = self._sending = b""
        self._number = 0
        self._lock = Lock()
        # Everything written so far, as long as it is small.
        self._written: list[bytes] | None = []
        self._over = Event()
        self._thread = Thread(target=self._keep_writing, name="journal", daemon=True)
        self._thread.start()

    @classmethod
    def create(cls, file: Place) -> _Objects | None:
        # The first object only claims the log for this writer.
        if file.exists() or object_store.put_new(_piece(file, 0), secrets.token_hex(16).encode()) is None:
            return None
        return cls(file)

    def append(self, text: bytes) -> None:
        with self._lock:
            self._waiting += text

    def _keep_writing(self) -> None:
        while not self._over.wait(_EVERY_S):
            # What cannot be written now is kept for the next attempt.
            with suppress(OSError):
                self._write()

    def _write(self) -> None:
        with self._lock:
            # An object may have been written though its response was lost: the next attempt must write the same bytes.
            text = self._sending = self._sending or self._waiting
        if text:
            object_store.put(_piece(self._file, self._number + 1), text)
            self._number += 1
            self._keep(text)
            with self._lock:
                self._waiting, self._sending = self._waiting[len(text) :], b""

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        with suppress(OSError):
            self._write()
            pieces = [_piece(self._file, number) for number in range(self._number + 1)]
            read = (object_store.get(uri).data for uri in pieces[1:])
            self._file.write(b"".join(read if self._written is None else self._written))
            object_store.delete(pieces)

    def _keep(self, text: bytes) -> None:
        if self._written is not None:
            self._written.append(text)
            if sum(map(len, self._written)) > _KEPT_BYTES:
                self._written = None


def _pieces(file: Place) -> str:
    return str(file.parent / file.stem)


def _piece(file: Place, number: int) -> str:
    return f"{_pieces(file)}/{number:06}{file.suffix}"


class Reader:
    """Reads a log while it is written; every call of `new` returns the lines added since the last one."""

    def __init__(self, file: Place) -> None:
        self._file = file
        self._read = 0
        self._n_pieces = 1

    def new(self) -> bytes:
        """Return the complete lines that were added since the last call."""
        data = b"".join(self._parts())
        # What follows the last line break is still being written, or was never completed.
        data = data[: data.rfind(b"\n") + 1]
        self._read += len(data)
        return data

    def _parts(self) -> Iterator[bytes]:
        found = self._file.status()
        if self._file.is_remote and found is None:
            last = _piece(self._file, self._n_pieces - 1)
            for entry in list(object_store.listing(_pieces(self._file), after=last)):
                # Otherwise the final file is replacing them just now; the next call continues in it.
                if entry.uri != _piece(self._file, self._n_pieces):
                    return
                try:
                    yield object_store.get(entry.uri).data
                except FileNotFoundError:
                    return
                self._n_pieces += 1
        elif found is not None and found.size_bytes > self._read:
            with suppress(FileNotFoundError):
                yield self._file.read(self._read)


def log_names(folder: Place) -> list[str]:
    """Return the names of the logs in a folder, without suffixes; also of those still in numbered objects."""
    return [name.partition(".")[0] for name in folder.names()]


def first_names(name: str, suffix: str) -> tuple[str, str]:
    """Return the two paths in the folder of a log of which one exists as soon as the log was created."""
    return f"{name}{suffix}", f"{name}/{0:06}{suffix}"
