"""Values as JSON: exact for browsers, and never bytes or numbers that are none."""

from __future__ import annotations

from jobs.web.plain import number, plain, utc


def test_numbers_that_a_browser_would_change_are_texts() -> None:
    assert [number(2**53 - 1), number(2**53), number(-(2**63))] == [9007199254740991, "9007199254740992", str(-(2**63))]


def test_times_are_utc_and_out_of_range_none() -> None:
    assert utc(0) == "1970-01-01T00:00:00.000Z"
    assert utc(1_700_000_000_123_456_789) == "2023-11-14T22:13:20.123456Z"
    assert utc(-1_000_000_000) == "1969-12-31T23:59:59.000Z"
    assert utc(2**63 - 1) is not None
    assert utc(None) is None


def test_values_of_tables_are_plain() -> None:
    given = {"a": [1.5, float("inf")], "b": (True, None, "x"), "c": b"bytes", "d": {"e": 2**60}}
    assert plain(given) == {"a": [1.5, None], "b": [True, None, "x"], "c": None, "d": {"e": str(2**60)}}
