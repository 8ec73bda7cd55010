"""The file that an upload grows in: written at its end, flushed, and hashed on the way."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from blake3 import blake3

from jobs.uploads.upload_space import check_disk

FLUSH_BYTES = 16 << 20
"""Bytes after which what was written is flushed to disk."""

_CATCH_UP = 4
_READ_BYTES = 1 << 20


class ContentHash:
    """BLAKE3 of the beginning of a file; `n_bytes` is how much of it is hashed."""

    def __init__(self) -> None:
        self._hash: Any = blake3()
        self.n_bytes = 0

    def add(self, piece: bytes) -> None:
        """Hash what follows."""
        self._hash.update(piece)
        self.n_bytes += len(piece)

    def catch_up(self, handle: int, until: int, most: int | None = None) -> None:
        """Hash what a file has up to `until`, at most `most` bytes of it: after a restart, nothing of it is known."""
        until = until if most is None else min(until, self.n_bytes + most)
        while self.n_bytes < until:
            piece = os.pread(handle, min(_READ_BYTES, until - self.n_bytes), self.n_bytes)
            if not piece:
                raise OSError(f"a file ends at byte {self.n_bytes}, expected {until}")
            self.add(piece)

    def copy(self) -> ContentHash:
        """Return the same state, to return to."""
        made = ContentHash()
        made._hash, made.n_bytes = self._hash.copy(), self.n_bytes
        return made

    def hex(self) -> str:
        """Return the hash, 64 hexadecimal digits."""
        text: str = self._hash.hexdigest()
        return text


class UploadFile:
    """A file that is being received. `offset` is how many bytes it has, and `hash` what is known of their hash.

    Its length is the offset, and nothing else says so: it is only appended to, so that a process that dies at any time
    leaves a right beginning. Bytes that wait for their checksum are marked by a second file, and cut off if the process
    dies before they are checked.
    """

    def __init__(self, path: Path, content: ContentHash) -> None:
        """Open a file, which is made if there is none. Raises `OSError`."""
        self._path = path
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._unflushed = 0
        self.hash = content
        self.offset = os.fstat(self._handle).st_size
        if content.n_bytes > self.offset:
            self.hash = ContentHash()

    def write(self, piece: bytes) -> None:
        """Append bytes. Raises `OSError`, after which the file is as it was."""
        view, at = memoryview(piece), self.offset
        try:
            while view:
                done = os.pwrite(self._handle, view, at)
                view, at = view[done:], at + done
        except OSError:
            os.ftruncate(self._handle, self.offset)
            raise
        if self.hash.n_bytes == self.offset:
            self.hash.add(piece)
        else:
            # A client that resumes does not wait until all that is there is read again.
            self.hash.catch_up(self._handle, at, _CATCH_UP * len(piece))
        self.offset = at
        self._unflushed += len(piece)
        if self._unflushed >= FLUSH_BYTES:
            self.flush()
            check_disk(self._path.parent)

    def flush(self) -> None:
        """Flush to disk what was written."""
        os.fdatasync(self._handle)
        self._unflushed = 0

    def finish(self) -> str:
        """Flush, and return the hash of the whole content; only what was there before a restart is read for it."""
        os.fsync(self._handle)
        self.hash.catch_up(self._handle, self.offset)
        return self.hash.hex()

    def cut(self, offset: int, content: ContentHash) -> None:
        """Return to an earlier length, and to the hash as it was then."""
        os.ftruncate(self._handle, offset)
        os.fsync(self._handle)
        self.offset, self.hash = offset, content if content.n_bytes <= offset else ContentHash()

    def close(self) -> None:
        """Close the file."""
        os.close(self._handle)


def unchecked_mark(path: Path) -> Path:
    """Return the file that says from which byte on the content of an upload waits for its checksum."""
    return path.with_name("unchecked")


def cut_unchecked(path: Path) -> None:
    """Cut off what a process that died had received but not checked."""
    mark = unchecked_mark(path)
    try:
        offset = int(mark.read_bytes())
    except FileNotFoundError:
        return
    except ValueError:
        offset = 0
    with open(path, "r+b") as file:
        file.truncate(min(offset, path.stat().st_size))
        os.fsync(file.fileno())
    mark.unlink()
