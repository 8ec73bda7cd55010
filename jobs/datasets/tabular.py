"""Arrow tables as bytes of the formats that other programs read."""

from __future__ import annotations

import json
import math
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq


def render(rows: pa.Table, kind: str) -> bytes:
    """Return rows as `json` (an array of objects), `jsonl`, `csv` (lists and structs as JSON) or `parquet`.

    Binary values are written as hex digits, but for parquet. The same rows give the same bytes. Raises KeyError for
    another format.
    """
    if kind == "parquet":
        sink = pa.BufferOutputStream()
        pq.write_table(rows, sink, compression="zstd")
        return bytes(sink.getvalue())
    if kind == "csv":
        return _flat(rows).write_csv().encode()
    lines = [json.dumps(row, default=_text, allow_nan=False) for row in _finite(rows)]
    start, between, end = {"json": ("[", ",\n ", "]\n"), "jsonl": ("", "\n", "\n" if lines else "")}[kind]
    return (start + between.join(lines) + end).encode()


def _finite(rows: pa.Table) -> list[dict[str, Any]]:
    """Return rows as values, not-a-number as null, since JSON has no word for it."""
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
