from __future__ import annotations

import os
import threading
import time
from pathlib import Path

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


def test_a_file_that_keeps_growing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "image_1.jpg"
    path.write_bytes(b"x" * 50_000_000)
    stop = threading.Event()

    def grow() -> None:
        with path.open("ab", buffering=0) as handle:
            while not stop.is_set():
                handle.write(b"x")

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        with pytest.raises(FileChangingError, match="image_1"):
            read_frame(str(path))
    finally:
        stop.set()
        writer.join()


def test_a_file_that_stops_growing_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "image_1.jpg"
    path.write_bytes(b"x" * 20_000_000)

    def grow() -> None:
        with path.open("ab", buffering=0) as handle:
            for _ in range(20):
                handle.write(b"x")
                time.sleep(0.001)

    writer = threading.Thread(target=grow)
    writer.start()
    found = read_frame(str(path))
    writer.join()
    assert len(found.data) == found.size_bytes


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
