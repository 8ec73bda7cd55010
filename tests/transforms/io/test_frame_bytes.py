from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest

from transforms.io.frame_bytes import FileChangingError, FileTooLargeError, NoFileError, read_frame


def test_bytes_are_returned_with_the_files_size_and_mtime(tmp_path: Path) -> None:
    path = tmp_path / "image_1.jpg"
    path.write_bytes(b"abc")
    os.utime(path, ns=(5, 7_000_000_001))
    found = read_frame(str(path))
    assert (found.data, found.size_bytes, found.mtime_ns) == (b"abc", 3, 7_000_000_001)
    assert abs(found.read_ns - time.time_ns()) < 60e9


def test_empty_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "image_1.jpg"
    path.touch()
    assert read_frame(str(path)).data == b""


def test_missing_files_and_folders_raise(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_frame(str(tmp_path / "image_1.jpg"))
    with pytest.raises(OSError, match="expected a regular file"):
        read_frame(str(tmp_path))


@contextmanager
def growing(path: Path, times: int) -> Iterator[None]:
    """Have another thread append a byte in the middle of each read of a file, so many times: the read waits for it."""
    read, left = os.read, [times]

    def append() -> None:
        with path.open("ab", buffering=0) as handle:
            handle.write(b"x")

    def read_while_it_grows(handle: int, n: int) -> bytes:
        if left[0]:
            left[0] -= 1
            writer = threading.Thread(target=append)
            writer.start()
            writer.join()
        return read(handle, n)

    with mock.patch.object(os, "read", read_while_it_grows):
        yield


def test_a_file_that_keeps_growing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "image_1.jpg"
    path.write_bytes(b"x" * 1000)
    with growing(path, times=99), pytest.raises(FileChangingError, match="image_1"):
        read_frame(str(path))


def test_a_file_that_stops_growing_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "image_1.jpg"
    path.write_bytes(b"x" * 1000)
    with growing(path, times=2):
        found = read_frame(str(path))
    assert len(found.data) == found.size_bytes == 1002


def test_a_file_of_over_a_gigabyte_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "image_1.jpg"
    with path.open("wb") as handle:
        handle.truncate((1 << 30) + 1)
    with pytest.raises(FileTooLargeError):
        read_frame(str(path))


def test_short_reads_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "image_1.jpg"
    path.write_bytes(bytes(range(256)) * 40)
    read = os.read
    monkeypatch.setattr(os, "read", lambda handle, n: read(handle, min(n, 1000)))
    assert read_frame(str(path)).data == bytes(range(256)) * 40


def test_reading_a_pipe_raises_instead_of_blocking(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "image_0.jpg")
    with pytest.raises(NoFileError):
        read_frame(str(tmp_path / "image_0.jpg"))
