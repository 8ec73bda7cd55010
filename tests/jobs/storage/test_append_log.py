from __future__ import annotations

from pathlib import Path

import pytest

from jobs.storage import append_log
from jobs.storage.append_log import Reader, create_log
from jobs.storage.paths import ObjectPath, Place, place
from tests import s3


@pytest.fixture(params=["disk", "bucket"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "disk":
        return place(tmp_path / "jobs" / "journal-1.jsonl")
    return ObjectPath(f"{request.getfixturevalue('bucket')}/jobs/journal-1.jsonl")


def read_until(reader: Reader, wanted: bytes) -> bytes:
    found = b""
    for _ in range(200):
        found += reader.new()
        if len(found) >= len(wanted):
            break
    return found


@pytest.mark.process
def test_lines_are_read_while_they_are_written(file: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(append_log, "_EVERY_S", 0.05)
    early, halfway = Reader(file), Reader(file)
    assert early.new() == b""
    writer = create_log(file)
    assert writer is not None
    assert create_log(file) is None
    writer.append(b"one\n")
    assert read_until(early, b"one\n") == b"one\n"
    writer.append(b"two\n")
    assert read_until(early, b"two\n") == b"two\n"
    assert read_until(halfway, b"one\ntwo\n") == b"one\ntwo\n"
    writer.append(b"three\n")
    writer.close()
    assert (early.new(), halfway.new(), early.new()) == (b"three\n", b"three\n", b"")
    assert Reader(file).new() == file.read() == b"one\ntwo\nthree\n"
    assert file.parent.names() == ["journal-1.jsonl"]
    assert create_log(file) is None


def test_lines_of_a_writer_that_died_are_there(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(append_log, "_EVERY_S", 0.05)
    file = ObjectPath(f"{bucket}/journal-1.jsonl")
    writer = create_log(file)
    assert writer is not None
    writer.append(b"one\n")
    assert read_until(Reader(file), b"one\n") == b"one\n"
    assert s3.keys(bucket) == ["journal-1/000000.jsonl", "journal-1/000001.jsonl"]
    assert append_log.log_names(ObjectPath(bucket)) == ["journal-1"]
    writer.close()
