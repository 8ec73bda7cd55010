"""Tables as files that other programs read, written piece by piece."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime

import polars as pl
import pyarrow as pa
import pytest

from jobs.core.errors import UserError
from jobs.datasets.tabular import render, write

ROWS = pa.table(
    {
        "n": pa.array([1, None, 3, 4], pa.int64()),
        "x": pa.array([0.5, float("nan"), None, float("inf")], pa.float32()),
        "s": ["a", 'b"c', None, "d\n"],
        "l": [["p"], [], None, ["q", "r"]],
        "b": [b"\x00\xff", None, b"", b"1"],
        "t": pa.array([datetime(2026, 11, 21, tzinfo=UTC)] * 4),
    }
)


@pytest.mark.parametrize("kind", ["json", "jsonl", "csv"])
@pytest.mark.parametrize("size", [1, 3, 4])
def test_writing_in_pieces_gives_the_same_bytes(kind: str, size: int) -> None:
    sink = io.BytesIO()
    write((ROWS.slice(at, size) for at in range(0, ROWS.num_rows, size)), kind, sink)
    assert sink.getvalue() == render(ROWS, kind)


def test_each_format_is_read_back() -> None:
    expected = [1, None, 3, 4]
    assert [row["n"] for row in json.loads(render(ROWS, "json"))] == expected
    assert [json.loads(line)["n"] for line in render(ROWS, "jsonl").splitlines()] == expected
    assert pl.read_csv(render(ROWS, "csv"))["n"].to_list() == expected
    assert pl.read_parquet(render(ROWS, "parquet"))["n"].to_list() == expected
    first = json.loads(render(ROWS, "json"))[0]
    assert first == {"n": 1, "x": 0.5, "s": "a", "l": ["p"], "b": "00ff", "t": "2026-11-21 00:00:00+00:00"}


@pytest.mark.parametrize("kind", ["json", "jsonl", "csv", "parquet"])
def test_empty_tables_are_written(kind: str) -> None:
    data = render(ROWS.slice(0, 0), kind)
    assert {"json": b"[]\n", "jsonl": b"", "csv": b"n,x,s,l,b,t\n"}.get(kind, data) == data
    if kind == "parquet":
        assert pl.read_parquet(data).columns == ROWS.column_names


@pytest.mark.parametrize(
    ("values", "kinds"),
    [
        (pa.array([2**62], pa.timestamp("us")), ("csv", "json", "jsonl")),
        (pa.array([[-(2**31)]], pa.list_(pa.date32())), ("csv", "json")),
        (pa.array([pa.MonthDayNano([1, 2, 3])]), ("csv", "json", "parquet")),
    ],
)
def test_values_that_a_format_has_no_word_for_are_refused(values: pa.Array, kinds: tuple[str, ...]) -> None:
    for kind in kinds:
        with pytest.raises(UserError, match=rf"cannot be written as {kind}.*CAST\("):
            render(pa.table({"x": values}), kind)


def test_nothing_within_a_value_is_no_number_of_json() -> None:
    rows = pa.table({"x": [[float("nan"), 1.0]], "y": [{"a": float("inf")}]})
    assert json.loads(render(rows, "json")) == [{"x": [None, 1.0], "y": {"a": None}}]
