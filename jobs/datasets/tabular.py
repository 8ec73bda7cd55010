"""Serialisation of Arrow tables as JSON, JSON lines, CSV or Parquet."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterable, Iterator
from datetime import date
from itertools import chain
from typing import Any, BinaryIO

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.core.errors import UserError

# Days from 1970 on.
_FIRST_DAY = date.min.toordinal() - date(1970, 1, 1).toordinal()
_LAST_DAY = date.max.toordinal() - date(1970, 1, 1).toordinal()
_PER_DAY = {"s": 86_400, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}

# Rows are converted in batches, since Python objects take many times the memory of Arrow arrays.
_LINES = 4096


def render(rows: pa.Table, kind: str) -> bytes:
    """Return rows as `json` (an array of objects), `jsonl`, `csv` (lists and structs as JSON) or `parquet`.

    Binary values are written as hex digits, except in parquet. The output is deterministic. Raises `KeyError` for
    another format.
    """
    sink = io.BytesIO()
    write([rows], kind, sink)
    return sink.getvalue()


def write(tables: Iterable[pa.Table], kind: str, sink: BinaryIO) -> None:
    """Write at least one table, all of one schema, into a file, each as soon as it is available.

    Raises `UserError` for a value that the format, or Python, has no word for: see `check_values`.
    """
    writers = {"parquet": _parquet, "csv": _csv, "json": _json, "jsonl": _jsonl}
    writers[kind]((_checked(rows, kind) for rows in tables), sink)


def check_values(rows: pa.Table, kind: str) -> None:
    """Raise `UserError` for a column that cannot be written: an interval, or times outside of the years 1 to 9999.

    `kind` is a format of `render`, or what else the rows are made into; in Parquet any time can be written.
    """
    for field, column in zip(rows.schema, rows.columns, strict=True):
        if wrong := next((w for part in _leaves(column) if (w := _wrong_with(part, kind))), None):
            raise UserError(
                f"column {field.name!r} has {wrong}, which cannot be written as {kind}; make it text, as in "
                f'CAST("{field.name}" AS VARCHAR)'
            )


def _checked(rows: pa.Table, kind: str) -> pa.Table:
    check_values(rows, kind)
    return rows


def _leaves(values: pa.Array | pa.ChunkedArray) -> Iterator[pa.Array]:
    """Yield the values of a column, and those in its lists, structs and maps."""
    if isinstance(values, pa.ChunkedArray):
        for chunk in values.chunks:
            yield from _leaves(chunk)
    elif pa.types.is_struct(values.type):
        for part in values.flatten():
            yield from _leaves(part)
    elif pa.types.is_map(values.type):
        for part in (values.keys, values.items):
            yield from _leaves(part)
    elif pa.types.is_nested(values.type) and hasattr(values, "flatten"):
        yield from _leaves(values.flatten())
    else:
        yield values


def _wrong_with(values: pa.Array, kind: str) -> str | None:
    type_ = values.type
    if pa.types.is_interval(type_):
        return "intervals"
    if pa.types.is_union(type_) and kind == "parquet":
        return "values of several types"
    if kind == "parquet" or not (pa.types.is_date(type_) or pa.types.is_timestamp(type_)):
        return None
    per_day = 1 if pa.types.is_date32(type_) else _PER_DAY["ms" if pa.types.is_date64(type_) else type_.unit]
    plain = values.cast(pa.int32() if pa.types.is_date32(type_) else pa.int64())
    found = pc.min_max(plain).as_py()
    # Another time zone may be in the next year.
    spared = 1 if pa.types.is_timestamp(type_) and type_.tz else 0
    first, end = (_FIRST_DAY + spared) * per_day, (_LAST_DAY + 1 - spared) * per_day
    if found["min"] is None or (first <= found["min"] and found["max"] < end):
        return None
    return "times before the year 1 or after 9999"


def _parquet(tables: Iterator[pa.Table], sink: BinaryIO) -> None:
    first = next(tables)
    with pq.ParquetWriter(sink, first.schema, compression="zstd") as writer:
        for rows in chain([first], tables):
            writer.write_table(rows)


def _csv(tables: Iterator[pa.Table], sink: BinaryIO) -> None:
    sink.writelines(_flat(rows).write_csv(include_header=not number).encode() for number, rows in enumerate(tables))


def _json(tables: Iterator[pa.Table], sink: BinaryIO) -> None:
    between = b"["
    for line in _lines(tables):
        sink.write(between + line)
        between = b",\n "
    sink.write((b"[" if between == b"[" else b"") + b"]\n")


def _jsonl(tables: Iterator[pa.Table], sink: BinaryIO) -> None:
    sink.writelines(line + b"\n" for line in _lines(tables))


def _lines(tables: Iterator[pa.Table]) -> Iterator[bytes]:
    for rows in tables:
        for batch in rows.to_batches(_LINES):
            for row in _finite(pa.Table.from_batches([batch])):
                yield json.dumps(row, default=_text, allow_nan=False).encode()


def _finite(rows: pa.Table) -> list[dict[str, Any]]:
    """Return rows as values, with NaN as null, since JSON has no NaN."""
    return [{name: _without_nan(value) for name, value in row.items()} for row in rows.to_pylist()]


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (list, tuple)):
        return [_without_nan(part) for part in value]
    if isinstance(value, dict):
        return {name: _without_nan(part) for name, part in value.items()}
    return value


def _flat(rows: pa.Table) -> pl.DataFrame:
    for at, field in enumerate(rows.schema):
        if pa.types.is_nested(field.type):
            texts = [
                None if v is None else json.dumps(_without_nan(v), default=_text) for v in rows[field.name].to_pylist()
            ]
            rows = rows.set_column(at, field.name, pa.array(texts, pa.string()))
        elif pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
            texts = [None if v is None else v.hex() for v in rows[field.name].to_pylist()]
            rows = rows.set_column(at, field.name, pa.array(texts, pa.string()))
    return pl.DataFrame(rows)


def _text(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
