from __future__ import annotations

import pyarrow as pa
import pytest

import schemas
from schemas import Column, SchemaMismatchError, Table

THINGS = Table(
    "things",
    "For these tests.",
    key=("stream_id", "n"),
    columns=(
        Column("stream_id", pa.string(), "Stream."),
        Column("n", pa.int64(), "Number.", low=0),
        Column("share", pa.float32(), "Share.", nullable=True, low=0, high=1),
    ),
)


def things(n: list[int], share: list[float | None]) -> pa.Table:
    return pa.table({"stream_id": ["a"] * len(n), "n": pa.array(n, pa.int64()), "share": pa.array(share, pa.float32())})


def test_rows_that_fit_pass() -> None:
    rows = things([0, 1], [0.5, None])
    THINGS.check(rows)
    with pytest.raises(SchemaMismatchError):
        THINGS.check(rows.drop_columns(["n"]))


def test_every_missing_wrong_and_unknown_column_is_listed() -> None:
    rows = pa.table({"stream_id": pa.array([1]), "extra": pa.array([2])})
    with pytest.raises(SchemaMismatchError) as caught:
        THINGS.check(rows)
    text = str(caught.value)
    assert "'stream_id' is int64, expected string" in text
    assert "'n' is missing" in text
    assert "'share' is missing" in text
    assert "'extra' is not declared" in text


def test_every_bad_value_and_repeated_key_is_listed() -> None:
    rows = pa.table(
        {
            "stream_id": pa.array(["a", "a", None], pa.string()),
            "n": pa.array([-1, -1, 2], pa.int64()),
            "share": pa.array([0.5, 1.5, None], pa.float32()),
        }
    )
    with pytest.raises(SchemaMismatchError) as caught:
        THINGS.check(rows)
    text = str(caught.value)
    assert "'stream_id' holds 1 nulls" in text
    assert "'n' goes down to -1" in text
    assert "'share' goes up to 1.5" in text
    assert "1 rows repeat a key of (stream_id, n)" in text


def test_partition_columns_are_not_expected_in_a_file() -> None:
    assert "stage_key" in schemas.QUALITY.arrow_schema.names
    assert "stage_key" not in schemas.QUALITY.file_schema.names
    schemas.QUALITY.check(schemas.QUALITY.file_schema.empty_table())


def test_no_table_has_a_type_that_delta_lacks() -> None:
    lacking = [
        f"{table.name}.{field.name}"
        for table in schemas.ALL
        for field in table.arrow_schema
        if pa.types.is_unsigned_integer(field.type) or pa.types.is_float16(field.type)
    ]
    assert lacking == []


def test_every_column_is_documented() -> None:
    assert [c.name for t in schemas.ALL for c in t.columns if not c.doc.endswith(".") and not c.doc.endswith("`")] == []
