from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.records.journal import EVENTS, FIELDS, Journal, JournalReader, events, journaled_jobs
from jobs.storage.paths import place
from tests.helpers import on_disk

JOB = "20261121-020000-0001234"


def test_journal_events_are_read_in_order(tmp_path: Path) -> None:
    journal = Journal.of(place(tmp_path), JOB)
    journal.write("run_started", frames=3, data={"profile": "quality"})
    journal.write("block_done", at_ns=7, frames=3, rows=3, seconds=0.5)
    first, second = events(place(tmp_path), JOB)
    assert (first["event"], first["frames"], first["job_id"], first["attempt"]) == ("run_started", 3, JOB, 1)
    assert second == {
        "at_ns": 7,
        "job_id": JOB,
        "attempt": 1,
        "event": "block_done",
        "frames": 3,
        "rows": 3,
        "seconds": 0.5,
    }
    assert set(first) | set(second) <= set(FIELDS)
    assert journaled_jobs(place(tmp_path)) == [JOB]


def test_each_attempt_has_a_file_of_its_own(tmp_path: Path) -> None:
    one = Journal.of(place(tmp_path), JOB)
    other = Journal.of(place(tmp_path), JOB)
    other.write("run_done")
    one.write("run_failed")
    assert (one.attempt, other.attempt) == (1, 2)
    assert [(e["attempt"], e["event"]) for e in events(place(tmp_path), JOB)] == [(1, "run_failed"), (2, "run_done")]


@pytest.mark.process
def test_attempts_begun_at_once_by_several_processes_share_no_file(tmp_path: Path) -> None:
    code = """
import sys
from jobs.records.journal import Journal
from jobs.storage.paths import place
print(Journal.of(place(sys.argv[1]), "j").attempt)
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    assert sorted(int(p.communicate()[0]) for p in processes) == [1, 2, 3, 4, 5, 6]


@given(st.lists(st.integers(0, 400), max_size=12))
def test_a_follower_sees_each_line_once_however_the_file_grows(cuts: list[int]) -> None:
    import tempfile

    text = b"".join(b'{"at_ns": %d, "event": "committed", "rows": %d}\n' % (n, n) for n in range(9))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "jobs" / JOB / "journal-1.jsonl"
        path.parent.mkdir(parents=True)
        follower = JournalReader(place(Path(folder)), JOB)
        seen = []
        for end in sorted({*cuts, len(text)}):
            path.write_bytes(text[:end])
            seen += [e["rows"] for e in follower.new()]
        assert seen == list(range(9))


@pytest.mark.parametrize("torn", [b'{"at_ns": 5, "ev', b'{"at_ns": 5}garbage', b"\xff\xfe\n", b"17\n"])
def test_a_partial_journal_line_hides_no_other_line(tmp_path: Path, torn: bytes) -> None:
    journal = Journal.of(place(tmp_path), JOB)
    journal.write("run_started")
    with on_disk(journal.path).open("ab") as handle:
        handle.write(torn)
    assert [e["event"] for e in events(place(tmp_path), JOB)] == ["run_started"]


@pytest.mark.process
def test_a_full_disk_costs_lines_and_no_run(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], check=False).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        journal = Journal.of(place(small), JOB)
        for number in range(2000):
            journal.write("committed", rows=number)
        written = len(events(place(small), JOB))
        assert 0 < written < 2000
        assert on_disk(journal.path).stat().st_size <= 65536
        subprocess.run(["mount", "-o", "remount,size=1m", str(small)], check=True)
        journal.write("run_failed")
        found = events(place(small), JOB)
        assert (len(found), found[-1]["event"]) == (written + 1, "run_failed")
    finally:
        subprocess.run(["umount", "-l", str(small)], check=False)


def test_every_event_is_declared_in_the_table() -> None:
    import schemas

    said = next(c.doc for c in schemas.JOURNAL.columns if c.name == "event")
    assert {word.strip("`.,") for word in said.split() if word.startswith("`")} == set(EVENTS)
    assert {c.name for c in schemas.JOURNAL.columns} == set(FIELDS)
