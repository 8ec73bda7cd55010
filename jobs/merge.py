"""Merging data files into one order, without holding all of their rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

import schemas
from jobs.store import DataFile

_ROWS_AT_ONCE = 1 << 14


def rows_in_order(folder: Path, table: schemas.Table, files: Sequence[DataFile]) -> Iterator[pa.Table]:
    """Yield all rows of files in order of their key, piece by piece where the files' ranges allow it.

    `folder` is the table's; the files come in order of what they begin with.
    """
    order = [(name, "ascending") for name in table.file_key]
    held: list[pa.Table] = []
    for file, starts in zip(files, _starts_afresh(table, files), strict=True):
        if starts and sum(rows.num_rows for rows in held) >= _ROWS_AT_ONCE:
            yield pa.concat_tables(held).sort_by(order)
            held = []
        held.append(pq.read_table(folder / file.path, schema=table.file_schema))
    yield pa.concat_tables(held).sort_by(order)


def _starts_afresh(table: schemas.Table, files: Sequence[DataFile]) -> Iterator[bool]:
    """Say for each file whether all of its rows, and all of later ones, come after all rows of those before it."""
    if table.file_key[0] != "stream_id" or any(f.low_stream is None for f in files):
        yield from [False] * len(files)
        return
    high_stream, high_idx = "", -1
    for file in files:
        low_stream, low_idx = file.low_stream or "", -1 if file.low_idx is None else file.low_idx
        starts = low_stream > high_stream
        if starts:
            high_idx = -1
        yield starts or (table.file_key == schemas.FRAME_KEY and low_stream == high_stream and low_idx > high_idx)
        high_stream = max(high_stream, file.high_stream or "")
        high_idx = max(high_idx, low_idx if file.high_idx is None else file.high_idx)
