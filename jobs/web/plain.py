"""Values as JSON has them, so that a browser reads what was meant."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

_MOST_EXACT = 2**53
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def number(value: int) -> int | str:
    """Return a whole number; as text where it is larger than the numbers of JavaScript are exact."""
    return int(value) if abs(value) < _MOST_EXACT else str(value)


def utc(ns: int | None) -> str | None:
    """Return a time (ns since 1970) as ISO 8601 in UTC, to the microsecond if it has them; None for none.

    >>> utc(1_700_000_000_500_000_000)
    '2023-11-14T22:13:20.500Z'
    """
    if ns is None:
        return None
    try:
        at = _EPOCH + timedelta(microseconds=ns // 1000)
    except OverflowError:
        return None
    fine = "milliseconds" if at.microsecond % 1000 == 0 else "microseconds"
    return at.isoformat(timespec=fine).replace("+00:00", "Z")


def plain(value: Any) -> Any:
    """Return a value of a table as JSON: no bytes, and None for numbers that are none.

    >>> plain({"a": 0.5, "b": float("nan"), "c": 2**60, "d": b"x"})
    {'a': 0.5, 'b': None, 'c': '1152921504606846976', 'd': None}
    """
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return number(value)
    if isinstance(value, float):
        # Measures are stored with 24 bits; more digits would be of the conversion.
        return float(f"{value:.9g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: plain(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    return None


def with_times(value: Any) -> Any:
    """Return a value with each time in ns, `at_ns` say, as text, `at`.

    >>> with_times([{"at_ns": 1_700_000_000_000_000_000, "by": None}])
    [{'by': None, 'at': '2023-11-14T22:13:20.000Z'}]
    """
    if isinstance(value, list):
        return [with_times(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    found = {name: with_times(entry) for name, entry in value.items() if not name.endswith("_ns")}
    return found | {name.removesuffix("_ns"): utc(entry) for name, entry in value.items() if name.endswith("_ns")}
