"""Tables as files that other programs read, written piece by piece."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime

import polars as pl
import pyarrow as pa
import pytest

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
