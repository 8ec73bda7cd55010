"""Merging of data files in order of their keys, with bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

import schemas
from jobs.storage.file_integrity import read_verified
from jobs.storage.file_pruning import DataFile
from jobs.storage.paths import Place

_ROWS_AT_ONCE = 1 << 14


def rows_in_order(folder: Place, table: schemas.Table, files: Sequence[DataFile]) -> Iterator[pa.Table]:
    """Yield all rows of files in order of their keys, in tables of bounded size.

    `folder` is the table's; the files come in order of their lowest stream and number.
    """
    order = [(name, "ascending") for name in table.file_order]
    held = table.file_schema.empty_table()
    for file in files:
        if held.num_rows >= _ROWS_AT_ONCE:
            held = held.sort_by(order)
            first = _n_before(held, table, file)
            if first:
                yield held.slice(0, first)
                held = held.slice(first)
        held = pa.concat_tables([held, read_verified(folder, file.path, file.size_bytes, schema=table.file_schema)])
    yield held.sort_by(order)


def _n_before(rows: pa.Table, table: schemas.Table, file: DataFile) -> int:
    """Return how many of the sorted rows are before all rows of a file, and so of all that begin later."""
    if table.file_order[0] != "stream_id" or file.low_stream is None:
        return 0
    before = pc.less(rows["stream_id"], file.low_stream)
    if table.file_order[:2] == schemas.FRAME_KEY and file.low_idx is not None:
        same = pc.equal(rows["stream_id"], file.low_stream)
        before = pc.or_(before, pc.and_(same, pc.less(rows["frame_idx"], file.low_idx)))
    return pc.sum(before).as_py() or 0
