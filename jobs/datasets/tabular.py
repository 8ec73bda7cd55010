"""Serialisation of Arrow tables as JSON, JSON lines, CSV or Parquet."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, BinaryIO

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

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
    """Write at least one table, all of one schema, into a file, each as soon as it is available."""
    {"parquet": _parquet, "csv": _csv, "json": _json, "jsonl": _jsonl}[kind](iter(tables), sink)


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
    return [
        {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
        for row in rows.to_pylist()
    ]


def _flat(rows: pa.Table) -> pl.DataFrame:
    for at, field in enumerate(rows.schema):
        if pa.types.is_nested(field.type):
            texts = [None if v is None else json.dumps(v, default=_text) for v in rows[field.name].to_pylist()]
            rows = rows.set_column(at, field.name, pa.array(texts, pa.string()))
        elif pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
            texts = [None if v is None else v.hex() for v in rows[field.name].to_pylist()]
            rows = rows.set_column(at, field.name, pa.array(texts, pa.string()))
    return pl.DataFrame(rows)


def _text(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
