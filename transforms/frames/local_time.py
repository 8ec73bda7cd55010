"""Local times as moments: what a recorder's clock showed in a time zone, with the hours that occur twice or never.

Clocks that are set back show an hour twice, and clocks that are set forward leave one out. As in PEP 495 with
`fold=0`, a time that occurs twice is the first of these moments, and one that does not occur is taken with the offset
from before the change. Where times otherwise rise from frame to frame, and fall once within the hour that occurs twice,
those from there on are the second.
"""

from __future__ import annotations

import datetime as dt
import difflib
import re
from dataclasses import dataclass
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]

_MINUTE_NS = 60 * 10**9
_OFFSET = re.compile(r"([+-])([01]\d|2[0-3]):?([0-5]\d)")
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class TimeZoneError(ValueError):
    """The name of a time zone is wrong; its text is for the user."""


class Moments(NamedTuple):
    """Times in ns since 1970, UTC, int64, shape (N,), and how many of the local times occur twice, or never."""

    t_ns: Int64Array
    n_twice: int
    n_never: int


@dataclass(frozen=True)
class LocalZone:
    """A time zone in which clocks showed times."""

    name: str
    zone: dt.tzinfo

    @classmethod
    def named(cls, name: str) -> LocalZone:
        """Return the zone of a name such as `Europe/Berlin`, or an offset such as `+02:00`. Raises `TimeZoneError`."""
        if found := _OFFSET.fullmatch(name):
            offset = dt.timedelta(hours=int(found[2]), minutes=int(found[3]))
            return cls(name, dt.timezone(-offset if found[1] == "-" else offset))
        try:
            return cls(name, ZoneInfo(name))
        except (ZoneInfoNotFoundError, ValueError, OSError):
            near = difflib.get_close_matches(name, available_timezones(), 2, 0.7)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise TimeZoneError(
                f"{name!r} is no time zone; expected a name such as Europe/Berlin, or an offset such as +02:00{hint}"
            ) from None

    def moments(self, local_ns: Int64Array) -> Moments:
        """Return when clocks of the zone showed these times, in ns since 1970 as if they were UTC, in frame order."""
        minutes, place = np.unique(local_ns // _MINUTE_NS, return_inverse=True)
        offsets = np.array([_offsets(self.zone, minute) for minute in minutes.tolist()], np.int64).reshape(-1, 2)
        first, second = offsets[place].T
        # Both sides of a change: where clocks go back, the offset after it is the smaller one.
        twice, never = first > second, first < second
        offset = np.where(_second_time(local_ns, twice), second, first)
        return Moments(local_ns - offset * 10**9, int(twice.sum()), int(never.sum()))


def _second_time(local_ns: Int64Array, twice: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return which of the times that occur twice are the second ones, going by the order of the frames."""
    second = np.zeros(len(local_ns), np.bool_)
    falls = np.flatnonzero(np.diff(local_ns) < 0) + 1
    if not len(falls) or not twice[falls].all() or not twice[falls - 1].all():
        # Frames in no order of time say nothing.
        return second
    # One change of the clocks is an unbroken sequence of such times, in which they fall once.
    begins = np.flatnonzero(np.diff(twice.astype(np.int8), prepend=0) == 1)
    ends = np.append(np.flatnonzero(np.diff(twice.astype(np.int8)) == -1) + 1, len(twice))
    for begin, end in zip(begins.tolist(), ends.tolist(), strict=False):
        inside = falls[(falls > begin) & (falls < end)]
        if len(inside) == 1:
            second[inside[0] : end] = True
    return second


def _offsets(zone: dt.tzinfo, minute: int) -> tuple[int, int]:
    """Return the offsets from UTC, in seconds, of a minute of local time since 1970, as the first and second of two.

    Where the time occurs once they are equal, and where it never occurs, the second is that after the change.
    """
    shown = (_EPOCH + dt.timedelta(minutes=minute)).replace(tzinfo=zone)
    first, second = (shown.replace(fold=fold).utcoffset() for fold in (0, 1))
    assert first is not None
    assert second is not None
    return round(first.total_seconds()), round(second.total_seconds())
