"""Consistent reads of frame files and objects: bytes together with the size and mtime of that same version."""

from __future__ import annotations

import os
import stat
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from threading import Lock
from typing import NamedTuple

from transforms.io import object_store
from transforms.io.recordings.recorded_frame import RecordedName, read_recorded

_TRIES = 3
_PAUSE_S = 0.05
_LARGEST_BYTES = 1 << 30
_REQUESTS = 8
_MOST_AHEAD = 32
_FRESH_S = 60.0


class FileChangingError(OSError):
    """The file kept changing while it was read."""


class FileTooLargeError(OSError):
    """The file is too large for an image; reading it would exhaust memory."""


class NoFileError(OSError):
    """The path is a folder, a pipe or a device."""


class FrameBytes(NamedTuple):
    """A file's bytes, with its size and mtime from before the read and the time of the read (ns since 1970).

    `changed_ns` is the ctime, ns since 1970; None for objects, which have none.
    """

    data: bytes
    size_bytes: int
    mtime_ns: int
    read_ns: int
    changed_ns: int | None = None


def read_frame(path: str) -> FrameBytes:
    """Read a whole file in one unbuffered read.

    A file that changes during the read is read again, three times at most. Raises `FileChangingError` if it changed
    each time, `FileTooLargeError` above 1 GiB, `NoFileError` for what is not a regular file, and any other `OSError`
    that persists over three tries. Objects are written atomically and read once; errors of the store are `OSError` too.
    Of a frame of a recording, the bytes are those of an image file, and the size is that of its message.
    """
    if (name := RecordedName.parse(path)) is not None:
        recorded = read_recorded(name)
        version = recorded.version
        return FrameBytes(recorded.data, recorded.size_bytes, version.mtime_ns, recorded.read_ns, version.changed_ns)
    if object_store.is_object(path):
        return _objects().get(path)
    for attempt in range(_TRIES):
        try:
            found = _read_once(path)
        except (FileNotFoundError, FileTooLargeError, NoFileError):
            raise
        except OSError:
            if attempt == _TRIES - 1:
                raise
        else:
            if found is not None:
                return found
        time.sleep(_PAUSE_S)
    raise FileChangingError(f"{path} changed each of the {_TRIES} times it was read")


def read_ahead(path: str) -> None:
    """Start reading a file that `read_frame` will read soon; errors are left for `read_frame` to raise."""
    if RecordedName.parse(path) is not None:
        # A recording stays open, and is read in order.
        return
    if object_store.is_object(path):
        _objects().announce(path)
        return
    if not hasattr(os, "posix_fadvise"):
        return
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(handle)


def _read_once(path: str) -> FrameBytes | None:
    """Return the file, or None if it changed during the read."""
    # Without O_NONBLOCK, opening a pipe would block for ever.
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        read_ns = time.time_ns()
        before = os.fstat(handle)
        if not stat.S_ISREG(before.st_mode):
            raise NoFileError(f"{path}: expected a regular file, found a folder, a pipe or a device")
        if before.st_size > _LARGEST_BYTES:
            raise FileTooLargeError(f"{path} has {before.st_size} bytes, expected an image of at most 1 GiB")
        data = os.read(handle, before.st_size + 1)
        if len(data) < before.st_size:
            data = _read_rest(handle, data)
        after = os.fstat(handle)
    finally:
        os.close(handle)
    still = before.st_mtime_ns == after.st_mtime_ns and before.st_size == after.st_size == len(data)
    return FrameBytes(data, after.st_size, after.st_mtime_ns, read_ns, after.st_ctime_ns) if still else None


def _read_rest(handle: int, data: bytes) -> bytes:
    """Read the rest of a file after a short read, which Linux makes above 2 GiB and some network file systems make."""
    parts = [data]
    while part := os.read(handle, 1 << 24):
        parts.append(part)
    return b"".join(parts)


class _Announced(NamedTuple):
    found: Future[FrameBytes]
    at_s: float


class _Objects:
    """Prefetch of announced objects in background threads: one request takes as long as decoding several frames."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_REQUESTS, "objects")
        self._lock = Lock()
        self._coming: dict[str, _Announced] = {}

    def announce(self, uri: str) -> None:
        with self._lock:
            while len(self._coming) >= _MOST_AHEAD:
                # Drop the oldest prefetch that was never used.
                self._coming.pop(next(iter(self._coming))).found.cancel()
            if uri not in self._coming:
                self._coming[uri] = _Announced(self._threads.submit(_fetch, uri), time.monotonic())

    def get(self, uri: str) -> FrameBytes:
        with self._lock:
            coming = self._coming.pop(uri, None)
        # A prefetch that is older than a minute may be an outdated version of the object.
        if coming is None or time.monotonic() - coming.at_s > _FRESH_S:
            return _fetch(uri)
        return coming.found.result()


@cache
def _objects() -> _Objects:
    return _Objects()


def _fetch(uri: str) -> FrameBytes:
    read_ns = time.time_ns()
    try:
        data, entry = object_store.get(uri, _LARGEST_BYTES)
    except ValueError as error:
        raise FileTooLargeError(f"{error}, expected an image of at most 1 GiB") from error
    return FrameBytes(data, entry.size_bytes, entry.mtime_ns, read_ns)
