from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobs.core.errors import UserError
from jobs.dispatch import schedule
from jobs.dispatch.job_queue import JobQueue
from jobs.dispatch.schedule import Schedule
from jobs.records.job_log import JobLog
from jobs.storage.paths import place

BERLIN = "Europe/Berlin"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def ns(text: str) -> int:
    return int(utc(text).timestamp()) * 10**9


def made(cron: str, tz: str = BERLIN, added: str = "2026-01-01") -> Schedule:
    return Schedule("nightly", cron, tz, {"inputs": ["/cam"]}, added_ns=ns(added))


def times(wanted: Schedule, first: str, n: int) -> list[str]:
    """The next `n` times after a moment, in UTC."""
    found, moment = [], utc(first)
    for _ in range(n):
        due = wanted.next_after(moment)
        assert due is not None
        moment = due.astimezone(UTC)
        found.append(f"{moment:%m-%d %H:%M}")
    return found


def test_a_time_of_day_is_that_of_its_zone_in_summer_and_in_winter() -> None:
    # On 29 March 2026 clocks go from 02:00 to 03:00, on 25 October from 03:00 to 02:00.
    assert times(made("0 5 * * *"), "2026-03-27T12:00", 3) == ["03-28 04:00", "03-29 03:00", "03-30 03:00"]
    assert times(made("0 5 * * *"), "2026-10-23T12:00", 3) == ["10-24 03:00", "10-25 04:00", "10-26 04:00"]


def test_a_time_that_a_change_of_clocks_leaves_out_is_made_up_for_at_once() -> None:
    assert times(made("30 2 * * *"), "2026-03-27T12:00", 3) == ["03-28 01:30", "03-29 01:00", "03-30 00:30"]


def test_a_time_that_comes_twice_is_due_once() -> None:
    assert times(made("30 2 * * *"), "2026-10-23T12:00", 3) == ["10-24 00:30", "10-25 00:30", "10-26 01:30"]


def test_an_hourly_schedule_is_due_every_hour_across_changes_of_clocks() -> None:
    assert times(made("0 * * * *"), "2026-10-24T23:30", 4) == [
        "10-25 00:00",
        "10-25 01:00",
        "10-25 02:00",
        "10-25 03:00",
    ]
    assert times(made("0 * * * *"), "2026-03-29T00:30", 2) == ["03-29 01:00", "03-29 02:00"]


@pytest.mark.parametrize(
    ("now", "last"),
    [
        ("2026-11-21T00:59:59", "2026-11-20T01:00:00"),
        ("2026-11-21T01:00:00", "2026-11-21T01:00:00"),
        ("2026-11-21T01:00:01", "2026-11-21T01:00:00"),
        ("2026-11-21T23:00:00", "2026-11-21T01:00:00"),
    ],
)
def test_the_last_time_is_the_newest_that_has_come(now: str, last: str) -> None:
    assert made("0 2 * * *").last_until(utc(now)) == utc(last)


@given(st.integers(0, 2 * 365 * 86400), st.sampled_from(["30 2 * * *", "*/20 * * * *", "0 4 1 * 1", "15 1-3 * * *"]))
@example(297 * 86400 + 4200, "30 2 * * *")  # in the second round of the hour that comes twice
def test_no_due_time_is_between_the_last_one_and_now(seconds: int, cron: str) -> None:
    now = utc("2026-01-01") + timedelta(seconds=seconds)
    last = made(cron).last_until(now)
    assert last is not None
    assert last <= now
    following = made(cron).next_after(last)
    assert following is not None
    assert following > now - timedelta(seconds=1)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"name": "a/b"}, "schedule name 'a/b'"),
        ({"name": "n" * 61}, "at most 60 characters"),
        ({"cron": "@daily"}, "expected minute, hour"),
        ({"cron": "0 0 2 * * *"}, "expected minute, hour"),
        ({"cron": "0 25 * * *"}, "bad hour"),
        ({"cron": "0 0 30 2 *"}, "bad day-of-month"),
        ({"tz": "Europe/Berlim"}, "expected the name of a time zone"),
        ({"tz": "../etc/passwd"}, "expected the name of a time zone"),
    ],
)
def test_invalid_schedules_are_refused(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    values: dict[str, Any] = {"name": "nightly", "cron": "0 2 * * *", "tz": "UTC", "asked": {}} | changed
    with pytest.raises(UserError, match=said):
        schedule.save(place(tmp_path), Schedule(**values))
    assert not (tmp_path / "schedules").exists()


def test_all_problems_are_reported_together() -> None:
    assert len(schedule.problems(Schedule("a b", "never", "Nowhere", {}))) == 3


def test_a_schedule_is_kept_until_it_is_removed(tmp_path: Path) -> None:
    schedule.save(place(tmp_path), made("0 2 * * *"))
    assert schedule.find(place(tmp_path), "nightly") == made("0 2 * * *")
    with pytest.raises(UserError, match="exists"):
        schedule.save(place(tmp_path), made("0 3 * * *"))
    schedule.remove(place(tmp_path), "nightly")
    assert list(schedule.load_all(place(tmp_path))) == []
    with pytest.raises(UserError, match="there is no schedule 'nightly'; there are: none yet"):
        schedule.remove(place(tmp_path), "nightly")


def look(root: Path, now: str) -> list[tuple[str, str | None]]:
    """Look what is due, as a gateway does, and return what came of it with the job or the reason."""
    events = schedule.submit_due(place(root), JobQueue(place(root)).jobs(), ns(now))
    return [(event, details.get("job_id") or details.get("reason")) for event, details in events]


def test_each_time_is_submitted_once_however_often_one_looks(tmp_path: Path) -> None:
    schedule.save(place(tmp_path), made("0 2 * * *", added="2026-11-20T12:00"))
    assert look(tmp_path, "2026-11-21T00:59") == []
    assert look(tmp_path, "2026-11-21T01:00") == [("schedule_due", "20261121-010000-nightly")]
    assert look(tmp_path, "2026-11-21T01:00") == []
    (job,) = JobQueue(place(tmp_path)).jobs()
    assert (job.schedule, job.release, job.state.state) == ("nightly", "nightly-2026-11-21", "pending")
    assert job.submitted["asked"] == {"inputs": ["/cam"]}
    JobLog(place(tmp_path), job.job_id).add("done")
    assert look(tmp_path, "2026-11-22T01:00") == [("schedule_due", "20261122-010000-nightly")]


def test_a_gateway_that_died_between_two_steps_does_not_submit_again(tmp_path: Path) -> None:
    schedule.save(place(tmp_path), made("0 2 * * *", added="2026-11-20T12:00"))
    look(tmp_path, "2026-11-21T01:00")
    (tmp_path / "schedules" / "noted" / "nightly.json").unlink()
    JobLog(place(tmp_path), "20261121-010000-nightly").add("done")
    look(tmp_path, "2026-11-21T01:05")
    (job,) = JobQueue(place(tmp_path)).jobs()
    assert [r.word for r in job.records] == ["submitted", "done"]


def test_a_week_without_a_gateway_is_made_up_for_once(tmp_path: Path) -> None:
    schedule.save(place(tmp_path), made("0 2 * * *", added="2026-11-01"))
    assert look(tmp_path, "2026-11-09T17:00") == [("schedule_due", "20261109-010000-nightly")]
    assert look(tmp_path, "2026-11-09T17:01") == []


def test_a_clock_that_was_years_ahead_silences_no_schedule(tmp_path: Path) -> None:
    schedule.save(place(tmp_path), made("0 2 * * *", added="2026-11-20T12:00"))
    # A machine that has not learnt the time yet.
    ((event, job_id),) = look(tmp_path, "2037-01-01T01:30")
    assert (event, job_id) == ("schedule_due", "20370101-010000-nightly")
    JobLog(place(tmp_path), str(job_id)).add("done")
    assert look(tmp_path, "2026-11-21T00:30") == [("schedule_clock_set_back", None)]
    assert look(tmp_path, "2026-11-21T00:59") == []
    assert look(tmp_path, "2026-11-21T01:00") == [("schedule_due", "20261121-010000-nightly")]


def test_a_clock_that_is_set_back_submits_no_time_twice(tmp_path: Path) -> None:
    schedule.save(place(tmp_path), made("0 * * * *", tz="UTC", added="2026-11-20T12:30"))
    assert look(tmp_path, "2026-11-20T13:00") == [("schedule_due", "20261120-130000-nightly")]
    JobLog(place(tmp_path), "20261120-130000-nightly").add("done")
    assert look(tmp_path, "2026-11-20T12:10") == [("schedule_clock_set_back", None)]
    for now in ("2026-11-20T12:59", "2026-11-20T13:00", "2026-11-20T13:05"):
        look(tmp_path, now)
    (job,) = JobQueue(place(tmp_path)).jobs()
    assert [record.word for record in job.records] == ["submitted", "done"]
    assert look(tmp_path, "2026-11-20T14:00") == [("schedule_due", "20261120-140000-nightly")]


def test_one_that_was_added_by_a_clock_ahead_does_not_run_for_times_before(tmp_path: Path) -> None:
    schedule.save(place(tmp_path), made("0 2 * * *", added="2037-01-01"))
    assert look(tmp_path, "2026-11-21T12:00") == [("schedule_clock_set_back", None)]
    assert look(tmp_path, "2026-11-22T00:59") == []
    assert look(tmp_path, "2026-11-22T01:00") == [("schedule_due", "20261122-010000-nightly")]


def test_times_before_it_was_added_do_not_count(tmp_path: Path) -> None:
    schedule.save(place(tmp_path), made("0 2 * * *", added="2026-11-21T12:00"))
    assert look(tmp_path, "2026-11-21T13:00") == []


@pytest.mark.parametrize("word", ["claimed", "paused", "requeued"])
def test_a_schedule_is_skipped_while_its_last_job_has_not_ended(tmp_path: Path, word: str) -> None:
    schedule.save(place(tmp_path), made("0 2 * * *", added="2026-11-20T12:00"))
    look(tmp_path, "2026-11-21T01:00")
    state = JobLog(place(tmp_path), "20261121-010000-nightly")
    state.add(word, {"process": {}})
    busy = {"claimed": "running", "paused": "paused", "requeued": "pending"}[word]
    reason = f"job 20261121-010000-nightly is {busy}"
    assert look(tmp_path, "2026-11-22T01:00") == [("schedule_skipped", reason)]
    assert look(tmp_path, "2026-11-22T01:01") == []
    assert schedule.notes(place(tmp_path), "nightly")["skipped"] == reason
    with pytest.raises(UserError, match=reason):
        schedule.submit_now(place(tmp_path), made("0 2 * * *"), JobQueue(place(tmp_path)).jobs())
    # A skipped time is over: it is not made up for when the job has ended.
    state.add("failed", {"error": "no memory"})
    assert look(tmp_path, "2026-11-22T05:00") == []
    assert look(tmp_path, "2026-11-23T01:00") == [("schedule_due", "20261123-010000-nightly")]
    assert "skipped" not in schedule.notes(place(tmp_path), "nightly")


def test_a_schedule_that_nobody_can_read_keeps_no_other_from_being_run(tmp_path: Path) -> None:
    schedule.save(place(tmp_path), made("0 2 * * *", added="2026-11-20T12:00"))
    (tmp_path / "schedules" / "bad.json").write_text("{")
    (tmp_path / "schedules" / "later.json").write_text(json.dumps({"name": "later", "colour": "red"}))
    events = [event for event, _ in look(tmp_path, "2026-11-21T01:00")]
    assert events == ["schedule_unreadable", "schedule_unreadable", "schedule_due"]


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"\xff\xfe",
        b"[]",
        b'{"name": "bad", "colour": "red"}',
        b'{"name": "bad", "cron": 7, "tz": "UTC", "asked": {}}',
        b'{"name": "bad", "cron": "0 99 * * *", "tz": "UTC", "asked": {}}',
        b'{"name": "nightly", "cron": "0 2 * * *", "tz": "UTC", "asked": {}}',
    ],
)
def test_a_damaged_schedule_is_named_with_its_fix_and_can_be_removed(tmp_path: Path, content: bytes) -> None:
    schedule.save(place(tmp_path), made("0 2 * * *"))
    path = tmp_path / "schedules" / "bad.json"
    path.write_bytes(content)
    found = dict(schedule.load_all(place(tmp_path)))
    assert found["nightly"] == schedule.find(place(tmp_path), "nightly") == made("0 2 * * *")
    with pytest.raises(UserError, match="is no schedule of this version") as caught:
        schedule.find(place(tmp_path), "bad")
    assert str(caught.value) == str(found["bad"])
    assert str(path) in str(caught.value)
    assert "`winnow schedule remove bad`" in str(caught.value)
    assert len(caught.value.problems) == len(str(caught.value).splitlines()) == 1
    schedule.remove(place(tmp_path), "bad")
    assert [name for name, _ in schedule.load_all(place(tmp_path))] == ["nightly"]


def test_a_damaged_note_of_the_last_submission_submits_no_time_twice(tmp_path: Path) -> None:
    schedule.save(place(tmp_path), made("0 2 * * *", added="2026-11-20T12:00"))
    look(tmp_path, "2026-11-21T01:00")
    (tmp_path / "schedules" / "noted" / "nightly.json").write_text("{")
    JobLog(place(tmp_path), "20261121-010000-nightly").add("done")
    look(tmp_path, "2026-11-21T01:05")
    assert len(JobQueue(place(tmp_path)).jobs()) == 1
    assert schedule.notes(place(tmp_path), "nightly") == {"due_ns": ns("2026-11-21T01:00")}


@pytest.mark.parametrize(("name", "following"), [("@daily", "2026-12-01 00:00"), ("@weekly", "2026-12-06 00:00")])
def test_cron_nicknames_equal_those_of_crontab(name: str, following: str) -> None:
    named = Schedule("nightly", schedule.NICKNAMES[name], "UTC", {})
    assert not schedule.problems(named)
    moment = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
    found = named.next_after(moment)
    assert found is not None
    assert f"{found:%Y-%m-%d %H:%M}" == following


@pytest.mark.parametrize("cron", ["1" * 5000, f"{'9' * 400} * * * *", "@reboot", "* " * 300])
def test_expressions_that_are_none_are_refused_in_a_line(cron: str) -> None:
    (problem,) = schedule.problems(Schedule("nightly", cron, "UTC", {}))
    assert problem.startswith("--cron")
