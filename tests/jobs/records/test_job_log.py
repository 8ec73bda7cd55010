"""Many writers, one record per number, and a valid state in any order of the records."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.core.errors import UserError
from jobs.core.job_states import ENDED, STATES
from jobs.records.job_log import REQUESTS, STATE_AFTER, JobLog, JobState, fold, jobs_of
from jobs.records.numbered_records import Record
from jobs.storage.paths import place
from tests.helpers import on_disk
from tests.waiting import ended

LAWFUL = {
    "pending": {"running", "paused", "done", "failed", "cancelled"},
    "running": {"pending", "paused", "done", "failed", "cancelled"},
    "paused": {"pending", "running", "done", "failed", "cancelled"},
    "failed": {"pending", "running", "paused", "done", "cancelled"},
    "done": set(),
    "cancelled": set(),
}


def folded(*words: str) -> JobState:
    """Return the state that words add up to."""
    state = fold([Record(n, word, n, _data(word)) for n, word in enumerate(words, 1)])
    assert state is not None
    return state


def _data(word: str) -> dict[str, object]:
    return {"process": {"pid": 1}} if word in {"claimed", "started"} else {}


@pytest.mark.parametrize(
    ("words", "state", "request_"),
    [
        ("submitted", "pending", None),
        ("submitted claimed", "running", None),
        ("submitted claimed started", "running", None),
        ("submitted pause", "paused", None),
        ("submitted cancel", "cancelled", None),
        ("submitted claimed pause", "running", "pause"),
        ("submitted claimed pause paused", "paused", None),
        ("submitted claimed pause paused resume", "pending", None),
        ("submitted claimed pause resume", "running", None),
        ("submitted claimed paused step", "pending", "step"),
        ("submitted claimed paused step claimed", "running", "step"),
        ("submitted claimed paused step claimed paused", "paused", None),
        ("submitted claimed requeued", "pending", None),
        ("submitted claimed pause requeued", "paused", None),
        ("submitted claimed cancel requeued", "cancelled", None),
        ("submitted claimed step requeued claimed", "running", "step"),
        ("submitted claimed failed resume", "pending", None),
        ("submitted claimed failed requeued", "pending", None),
        ("submitted pause-after claimed", "running", "pause-after"),
        ("submitted claimed cancel pause", "running", "cancel"),
        ("submitted claimed cancel resume", "running", "cancel"),
        ("submitted claimed cancel cancelled", "cancelled", None),
        ("submitted claimed cancel done", "done", None),
        ("submitted claimed done claimed", "done", None),
        ("started", "running", None),
        ("started pause", "running", "pause"),
        ("started paused resume", "paused", None),
        ("started paused step", "paused", "step"),
        ("started paused step started", "running", "step"),
        ("started paused started", "running", None),
        ("started failed started done", "done", None),
        ("started paused cancel", "cancelled", None),
        ("started paused pause-after started", "running", "pause-after"),
    ],
)
def test_records_of_a_job_fold_into_its_state(words: str, state: str, request_: str | None) -> None:
    found = folded(*words.split())
    assert (found.state, found.request.word if found.request else None) == (state, request_)


def test_attempts_are_counted_and_the_last_holder_is_known() -> None:
    records = [
        Record(1, "submitted", 0),
        Record(2, "claimed", 0, {"process": {"pid": 1}, "attempt": 1}),
        Record(3, "started", 0, {"process": {"pid": 2}}),
        Record(4, "requeued", 0),
        Record(5, "claimed", 0, {"process": {"pid": 3}, "attempt": 2}),
    ]
    found = fold(records)
    assert found == JobState("running", None, 2, {"pid": 3}, queued=True, number=5)
    assert fold(records[:3]) == JobState("running", None, 1, {"pid": 2}, queued=True, number=3)
    assert fold([]) is None


def test_records_with_unknown_words_change_no_state() -> None:
    assert folded("submitted", "claimed", "praised").state == "running"


def test_records_are_read_back_in_order_by_anybody(tmp_path: Path) -> None:
    job_log = JobLog(place(tmp_path), "a-job")
    assert (job_log.records(), job_log.last(), job_log.state(), jobs_of(place(tmp_path))) == ([], None, None, [])
    made = [job_log.add("submitted", {"priority": 3}), job_log.add("pause-after", {"stage": "idle"})]
    assert JobLog(place(tmp_path), "a-job").records() == made
    assert job_log.last() == made[1]
    assert sorted(os.listdir(tmp_path / "jobs" / "a-job")) == ["000001.json", "000002.json"]
    JobLog(place(tmp_path), "b-job").add("started")
    (tmp_path / "jobs" / "empty").mkdir()
    assert jobs_of(place(tmp_path)) == ["a-job", "b-job"]


def test_a_job_is_claimed_by_one_process(tmp_path: Path) -> None:
    one, other = JobLog(place(tmp_path), "job"), JobLog(place(tmp_path), "job")
    seen = one.add("submitted")
    assert seen is not None
    claim = other.add("claimed", {"process": {}}, after=seen.number)
    assert claim is not None
    assert claim.number == 2
    assert one.add("claimed", {"process": {}}, after=seen.number) is None
    assert one.add("claimed", after=7) is None
    assert len(one.records()) == 2


@pytest.mark.parametrize("end", sorted(ENDED))
def test_a_request_to_a_job_that_is_over_is_refused(tmp_path: Path, end: str) -> None:
    job_log = JobLog(place(tmp_path), "job")
    job_log.add("started")
    job_log.add(end)
    with pytest.raises(UserError, match=f"job job is {end}; pause is for a job that is not over"):
        job_log.add("pause")
    if end == "failed":
        assert job_log.add("resume") is not None
    else:
        with pytest.raises(UserError, match=end):
            job_log.add("resume")


def test_a_bad_id_a_bad_word_and_a_bad_record_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="job name"):
        JobLog(place(tmp_path), "../elsewhere")
    job_log = JobLog(place(tmp_path), "job")
    with pytest.raises(ValueError, match="'praised' is no word of a job log"):
        job_log.add("praised")
    job_log.add("started")
    (on_disk(job_log.folder) / "000002.json").write_text("{")
    with pytest.raises(UserError, match=r"000002.json is no record of a job"):
        JobLog(place(tmp_path), "job").records()


def test_a_partial_record_of_a_dead_writer_is_ignored(tmp_path: Path) -> None:
    job_log = JobLog(place(tmp_path), "job")
    job_log.add("started")
    (on_disk(job_log.folder) / ".000002.77.ab.tmp").write_text("{")
    second = job_log.add("paused")
    assert second is not None
    assert second.number == 2


def test_a_cleared_job_is_forgotten(tmp_path: Path) -> None:
    job_log = JobLog(place(tmp_path), "job")
    job_log.add("started")
    for entry in on_disk(job_log.folder).iterdir():
        entry.unlink()
    assert job_log.records() == []


_ACTIONS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["look", *STATE_AFTER]), st.booleans()), min_size=1, max_size=30
)


@settings(max_examples=150, deadline=None)
@given(_ACTIONS)
def test_any_interleaving_of_writers_leaves_one_record_per_number_and_a_lawful_state(
    actions: list[tuple[int, str, bool]],
) -> None:
    with TemporaryDirectory() as folder:
        writers = [JobLog(place(Path(folder)), "job") for _ in range(3)]
        seen = [0, 0, 0]
        made: list[Record] = []
        for who, word, careful in actions:
            if word == "look":
                last = writers[who].last()
                seen[who] = last.number if last else 0
                continue
            try:
                record = writers[who].add(word, _data(word), after=seen[who] if careful else None)
            except UserError:
                assert word in REQUESTS
                before = fold(made)
                assert before is not None
                assert before.ended
                continue
            # A careful writer gets a number just if nobody wrote since it looked.
            assert record is None or not careful or record.number == seen[who] + 1
            assert record is not None or (careful and seen[who] != len(made))
            made += [record] if record else []
        found = JobLog(place(Path(folder)), "job").records()
        assert found == made
        assert [r.number for r in found] == list(range(1, len(found) + 1))
        states = [s for n in range(1, len(found) + 1) if (s := fold(found[:n]))]
        assert all(s.state in STATES for s in states)
        for before, after in pairwise(states):
            assert after.state == before.state or after.state in LAWFUL[before.state], (before, after)
            assert after.attempts >= before.attempts
            assert after.request is None or after.state != "cancelled"


@pytest.mark.process
def test_processes_that_race_for_numbers_never_share_one(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from jobs.storage.paths import place\n"
        "from jobs.records.job_log import JobLog\n"
        "job_log = JobLog(place(sys.argv[1]), 'job')\n"
        "sys.stdin.readline()\n"
        "print(*(job_log.add('claimed', {'by': sys.argv[2]}).number for _ in range(25)))\n"
    )
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path), str(n)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(3)
    ]
    taken = [racer.stdin for racer in racers]
    for pipe in taken:
        assert pipe is not None
        pipe.write("\n")
        pipe.flush()
    numbers = [[int(n) for n in ended(racer)[1].split()] for racer in racers]
    assert sorted(n for own in numbers for n in own) == list(range(1, 76))
    records = JobLog(place(tmp_path), "job").records()
    for who, own in enumerate(numbers):
        assert {records[n - 1].data["by"] for n in own} == {str(who)}
    assert sorted(p.suffix for p in (tmp_path / "jobs" / "job").iterdir()) == [".json"] * 75
