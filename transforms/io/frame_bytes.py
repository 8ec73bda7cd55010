"""The bytes of frames in files and in objects, read so that what they are called and what they hold belong together."""

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

_TRIES = 3
_PAUSE_S = 0.05
_LARGEST_BYTES = 1 << 30
_REQUESTS = 8
_MOST_AHEAD = 32
_FRESH_S = 60.0


class FileChangingError(OSError):
    """The file kept changing while it was read."""


class FileTooLargeError(OSError):
    """The file is too large to be one picture; reading it would fill the memory."""


class NoFileError(OSError):
    """The path leads to a folder, a pipe or a device."""


class FrameBytes(NamedTuple):
    """A file's bytes, with its size and mtime from before the read and the time of the read (ns since 1970).

    `changed_ns` is when anything of the file was last changed; an object does not say.
    """

    data: bytes
    size_bytes: int
    mtime_ns: int
    read_ns: int
    changed_ns: int | None = None


def read_frame(path: str) -> FrameBytes:
    """Read a file whole, in one unbuffered read.

    A file that is being written is read again, three times at most. Raises `FileChangingError` if it does not come to
    rest, `FileTooLargeError` above 1 GiB, `NoFileError` for what is no regular file, and whatever `OSError` the file
    system has after it was asked three times. An object is there whole or not at all; what its store has to say comes
    as an `OSError` as well.
    """
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
    """Begin to read a file that will be asked for soon; what is wrong with it shows then."""
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
    # A pipe would be waited for otherwise, for ever.
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        read_ns = time.time_ns()
        before = os.fstat(handle)
        if not stat.S_ISREG(before.st_mode):
            raise NoFileError(f"{path} is no regular file")
        if before.st_size > _LARGEST_BYTES:
            raise FileTooLargeError(f"{path} has {before.st_size} bytes, more than one picture can have")
        data = os.read(handle, before.st_size + 1)
        if len(data) < before.st_size:
            data = _read_rest(handle, data)
        after = os.fstat(handle)
    finally:
        os.close(handle)
    still = before.st_mtime_ns == after.st_mtime_ns and before.st_size == after.st_size == len(data)
    return FrameBytes(data, after.st_size, after.st_mtime_ns, read_ns, after.st_ctime_ns) if still else None


def _read_rest(handle: int, data: bytes) -> bytes:
    """Go on reading where one call returned less than was asked for, as Linux does above 2 GiB and on some networks."""
    parts = [data]
    while part := os.read(handle, 1 << 24):
        parts.append(part)
    return b"".join(parts)


class _Announced(NamedTuple):
    found: Future[FrameBytes]
    at_s: float


class _Objects:
    """Objects that were announced, on their way: one request takes as long as decoding several frames."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_REQUESTS, "objects")
        self._lock = Lock()
        self._coming: dict[str, _Announced] = {}

    def announce(self, uri: str) -> None:
        with self._lock:
            while len(self._coming) >= _MOST_AHEAD:
                # Nobody has come for it.
                self._coming.pop(next(iter(self._coming))).found.cancel()
            if uri not in self._coming:
                self._coming[uri] = _Announced(self._threads.submit(_fetch, uri), time.monotonic())

    def get(self, uri: str) -> FrameBytes:
        with self._lock:
            coming = self._coming.pop(uri, None)
        # What lay here for long may be another object by now.
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
        raise FileTooLargeError(f"{error}, more than one picture can have") from error
    return FrameBytes(data, entry.size_bytes, entry.mtime_ns, read_ns)
