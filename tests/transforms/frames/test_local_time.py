from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

from transforms.frames.local_time import LocalZone, TimeZoneError

BERLIN = LocalZone.named("Europe/Berlin")


def shown(*texts: str) -> np.ndarray:
    """Return what a clock showed, in ns since 1970 as if it were UTC."""
    moments = [dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC) for text in texts]
    return np.array([int(moment.timestamp()) * 10**9 for moment in moments], np.int64)


def utc(zone: LocalZone, *texts: str) -> list[str]:
    """Return the moments of local times, as times of day in UTC."""
    found = zone.moments(shown(*texts)).t_ns
    return [f"{dt.datetime.fromtimestamp(t / 1e9, dt.UTC):%d %H:%M:%S}" for t in found.tolist()]


@pytest.mark.parametrize(
    ("name", "local", "expected"),
    [
        ("Europe/Berlin", "2024-01-15T12:00:00", "15 11:00:00"),
        ("Europe/Berlin", "2024-07-15T12:00:00", "15 10:00:00"),
        ("America/New_York", "2024-01-15T20:00:00", "16 01:00:00"),
        ("Asia/Kolkata", "2024-01-15T12:00:00", "15 06:30:00"),
        ("+02:00", "2024-01-15T12:00:00", "15 10:00:00"),
        ("-0330", "2024-01-15T12:00:00", "15 15:30:00"),
        ("UTC", "2024-01-15T12:00:00", "15 12:00:00"),
    ],
)
def test_local_times_are_moments(name: str, local: str, expected: str) -> None:
    assert utc(LocalZone.named(name), local) == [expected]


def test_an_hour_that_never_was_is_read_with_the_offset_from_before() -> None:
    # At 2 the clocks were set to 3.
    local = ("2024-03-31T01:59:59", "2024-03-31T02:30:00", "2024-03-31T03:00:00")
    assert utc(BERLIN, *local) == ["31 00:59:59", "31 01:30:00", "31 01:00:00"]
    assert BERLIN.moments(shown(*local))[1:] == (0, 1)


def test_an_hour_that_was_twice_is_the_first_one() -> None:
    # At 3 the clocks were set to 2.
    local = ("2024-10-27T01:59:59", "2024-10-27T02:30:00", "2024-10-27T03:00:00")
    assert utc(BERLIN, *local) == ["26 23:59:59", "27 00:30:00", "27 02:00:00"]
    assert BERLIN.moments(shown(*local))[1:] == (1, 0)


def test_times_that_fall_once_within_that_hour_are_the_second_one_from_there_on() -> None:
    local = ("2024-10-27T01:50:00", "2024-10-27T02:10:00", "2024-10-27T02:50:00", "2024-10-27T02:10:00")
    assert utc(BERLIN, *local, "2024-10-27T02:50:00", "2024-10-27T03:10:00") == [
        "26 23:50:00",
        "27 00:10:00",
        "27 00:50:00",
        "27 01:10:00",
        "27 01:50:00",
        "27 02:10:00",
    ]


def test_the_second_hour_is_found_where_recordings_begin_and_end_within_it() -> None:
    local = ("2024-10-27T02:40:00", "2024-10-27T02:20:00")
    assert utc(BERLIN, *local) == ["27 00:40:00", "27 01:20:00"]


def test_frames_in_no_order_of_time_say_nothing_of_which_hour_it_was() -> None:
    local = ("2024-10-27T02:40:00", "2024-10-27T02:20:00", "2024-06-01T12:00:00", "2024-10-27T02:30:00")
    assert utc(BERLIN, *local) == ["27 00:40:00", "27 00:20:00", "01 10:00:00", "27 00:30:00"]


def test_changes_of_half_an_hour_and_at_odd_minutes_are_changes_too() -> None:
    # Lord Howe: from 2:00 back to 1:30; St. John's in 2006: from 0:01 back to 23:01 of the day before.
    assert LocalZone.named("Australia/Lord_Howe").moments(shown("2024-04-07T01:45:00")).n_twice == 1
    assert LocalZone.named("America/St_Johns").moments(shown("2006-10-28T23:01:00", "2006-10-29T00:00:59"))[1:] == (
        2,
        0,
    )
    assert LocalZone.named("America/St_Johns").moments(shown("2006-10-29T00:01:00")).n_twice == 0


def test_no_times_are_no_moments() -> None:
    assert len(BERLIN.moments(np.empty(0, np.int64)).t_ns) == 0


@pytest.mark.parametrize("name", ["Europe/Belin", "", "../etc/passwd", "25:00", "+25:00", "Mars", "Europe", "\0"])
def test_a_name_of_no_zone_says_what_is_expected(name: str) -> None:
    with pytest.raises(TimeZoneError, match="expected a name such as Europe/Berlin, or an offset such as"):
        LocalZone.named(name)


def test_the_nearest_names_are_suggested() -> None:
    with pytest.raises(TimeZoneError, match=r"did you mean Europe/Berlin"):
        LocalZone.named("Europe/Belin")
