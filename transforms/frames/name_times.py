"""Recognition of times in the names of a folder: epochs, and dates with times of day in the usual notations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.frames.name_pattern import FrameNameError, Int64Array, NamePattern

_PRE = "(?s)^(?P<pre>(?:.*?[^0-9])?)"
_POST = "(?P<post>(?:[^0-9].*)?)$"
_YEAR = "(?P<Y>19[7-9][0-9]|20[0-9]{2})"
_MONTH = "(?P<m>0[1-9]|1[0-2])"
_DAY = "(?P<d>0[1-9]|[12][0-9]|3[01])"
_BETWEEN = "(?P<c>[-_ .T@,]{0,3})"
_FRACTION = "(?:(?P<k>[.,]?)(?P<f>[0-9]{1,9}))?(?P<z>Z|[+][0-9]{2}:?[0-9]{2})?"
_CLOCK = "(?P<H>[01][0-9]|2[0-3])(?P<e>[-_.:h]?)(?P<M>[0-5][0-9])(?P<g>[-_.:m]?)(?P<S>[0-5][0-9])" + _FRACTION
_MINUTES = "(?P<H>[01][0-9]|2[0-3])(?P<e>[-_.:h])(?P<M>[0-5][0-9])"
_DATE = f"{_YEAR}(?P<a>[-_.:]?){_MONTH}(?P<b>[-_.:]?){_DAY}"
_SHORT = "(?P<x>[0-9]{2})(?P<a>[-_.])(?P<y>[0-9]{2})(?P<b>[-_.])(?P<w>(?:19[7-9]|20[0-9])?[0-9]{1,2})"
_EPOCH = "1[1-9][0-9]{8}"
"""Seconds from 2004 to 2033, without fraction: counters do not begin there."""
_LEAST_SHARE = 0.9


class TimeReading(NamedTuple):
    """Names of a folder in which a time was recognised, in the notation `format`.

    `at` are positions of the names that hold it, `before` and `after` the texts around it, and `ticks` the times.
    """

    format: str
    at: Int64Array
    before: pa.Array
    after: pa.Array
    ticks: Int64Array


def find_times(stems: pa.Array) -> list[TimeReading]:
    """Return the ways in which at least nine in ten of these names, without extensions, hold a time.

    That is one for almost all folders, none where there are no times, and several where days, months and two-digit
    years could be read in several orders.
    """
    if pc.all(pc.match_substring_regex(stems, "^[^0-9]*[0-9]{1,9}[^0-9]*$")).as_py():
        # One number of fewer digits than a time has: the names of most folders, which may be millions.
        return []
    for found in (_epochs(stems), _dates(stems), _clocks(stems)):
        if readings := list(found):
            return readings
    return []


def _epochs(stems: pa.Array) -> Iterator[TimeReading]:
    whole = {"ns": f"{_EPOCH}[0-9]{{9}}", "us": f"{_EPOCH}[0-9]{{6}}", "ms": f"{_EPOCH}[0-9]{{3}}"}
    for unit in ("ns", "us"):
        if reading := _reading(stems, f"(?P<t>{whole[unit]})", unit):
            yield reading
            return
    groups = _matched(stems, f"(?P<t>{_EPOCH})(?P<k>[._-])(?P<f>[0-9]{{1,9}})")
    if groups is not None and (sign := _only(groups, "k")) is not None:
        shortest, longest = _widths(groups, "f")
        if shortest == longest and longest in {3, 6, 9}:
            form = f"%s{sign}%{longest}f"
        else:
            # Programs that write a float leave its last zeros out.
            form = "%s.%f" if sign == "." and longest <= 6 else ""
        if form == "%s.%6f":
            form = "%s.%f"
        if form and (reading := _reading(stems, f"(?P<t>{_EPOCH})[{sign}](?P<f>[0-9]{{1,9}})", form)):
            yield reading
            return
    if reading := _reading(stems, f"(?P<t>{whole['ms']})", "ms"):
        yield reading
        return
    if not list(_dates(stems)) and (reading := _reading(stems, f"(?P<t>{_EPOCH})", "s")):
        yield reading


def _dates(stems: pa.Array) -> Iterator[TimeReading]:
    for date in (_DATE, _SHORT):
        for clock in (_CLOCK, _MINUTES):
            regex = date + _BETWEEN + clock
            groups = _matched(stems, regex)
            if groups is None:
                continue
            found = [r for form in _date_formats(groups, date, clock) if (r := _reading(stems, regex, form))]
            if found:
                yield from found
                return


def _date_formats(groups: pa.StructArray, date: str, clock: str) -> Iterator[str]:
    """Yield formats in which all of these dates and times may be written."""
    signs = {name: _only(groups, name) for name in ("a", "b", "c", "e", *(("g", "k") if clock == _CLOCK else ()))}
    if any(sign is None for sign in signs.values()) or signs["a"] != signs["b"]:
        return
    a, c, e = signs["a"], signs["c"], signs["e"]
    time = f"%H{e}%M"
    if clock == _CLOCK:
        fraction = _fraction(groups, signs["k"] or "")
        has_zone = pc.all(pc.greater(pc.utf8_length(pc.struct_field(groups, "z")), 0)).as_py()
        time += f"{signs['g']}%S{fraction}{'%z' if has_zone else ''}"
    if date == _DATE:
        yield f"%Y{a}%m{a}%d{c}{time}"
        return
    shortest, longest = _widths(groups, "w")
    if shortest == longest == 4:
        yield f"%d{a}%m{a}%Y{c}{time}"
        yield f"%m{a}%d{a}%Y{c}{time}"
    elif shortest == longest == 2:
        yield f"%y{a}%m{a}%d{c}{time}"
        yield f"%d{a}%m{a}%y{c}{time}"


def _fraction(groups: pa.StructArray, sign: str) -> str:
    shortest, longest = _widths(groups, "f")
    if not longest:
        return ""
    if shortest == longest:
        return f"{sign}%{longest}f"
    return f"{sign}%f" if sign and longest == 6 else "?"


def _clocks(stems: pa.Array) -> Iterator[TimeReading]:
    """Yield times of a day, where names hold no date."""
    groups = _matched(stems, _CLOCK)
    if groups is None or any((sign := _only(groups, name)) is None or not sign for name in ("e", "g")):
        return
    signs = [_only(groups, name) for name in ("e", "g")]
    moves = any(pc.count_distinct(pc.struct_field(groups, name)).as_py() > 1 for name in ("H", "M"))
    fraction = _fraction(groups, _only(groups, "k") or "")
    if moves and signs[0] == signs[1] and (reading := _reading(stems, _CLOCK, f"%H{signs[0]}%M{signs[0]}%S{fraction}")):
        yield reading


def _matched(stems: pa.Array, regex: str) -> pa.StructArray | None:
    """Return the groups of the names that match, if these are most."""
    groups = pc.extract_regex(stems, _PRE + regex + _POST)
    n = len(stems) - groups.null_count
    return groups.drop_null() if n and n >= _LEAST_SHARE * len(stems) else None


def _reading(stems: pa.Array, regex: str, form: str) -> TimeReading | None:
    """Return what the names say in a format; None if too few are of it, or times do not exist."""
    groups = pc.extract_regex(stems, _PRE + regex + _POST)
    at = np.flatnonzero(pc.is_valid(groups).to_numpy(zero_copy_only=False))
    if not len(at) or len(at) < _LEAST_SHARE * len(stems):
        return None
    groups = groups.drop_null()
    before, after = (pc.struct_field(groups, name) for name in ("pre", "post"))
    begin, end = pc.utf8_length(before), pc.subtract(pc.utf8_length(stems.take(pa.array(at))), pc.utf8_length(after))
    texts = pa.array(
        [
            s[b:e]
            for s, b, e in zip(stems.take(pa.array(at)).to_pylist(), begin.to_pylist(), end.to_pylist(), strict=True)
        ]
    )
    try:
        read = NamePattern.parse(f"{{time:{form}}}").read(pc.binary_join_element_wise(texts, ".jpg", ""))
    except FrameNameError:
        return None
    return TimeReading(form, at, before, after, read.frame_idx) if len(read.at) == len(at) else None


def _only(groups: pa.StructArray, name: str) -> str | None:
    """Return the text of a group if it is the same in all names."""
    found = pc.unique(pc.struct_field(groups, name))
    return str(found[0].as_py()) if len(found) == 1 else None


def _widths(groups: pa.StructArray, name: str) -> tuple[int, int]:
    found = pc.min_max(pc.utf8_length(pc.struct_field(groups, name))).as_py()
    return found["min"], found["max"]
