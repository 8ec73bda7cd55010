"""Which frames fulfil an SQL condition: evaluated on columns in the order of the frames, without joining tables.

The view `curated` joins all tables of frames. Most conditions read one or two columns, of which many are in memory.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

import schemas
from jobs.views.curated_view import NAME, sources
from jobs.views.relations import Limits
from jobs.views.statement import check_condition, columns_of
from jobs.web.frame_columns import DECIDED, NO_TIME, Array
from jobs.web.frame_table import SOURCES, FrameTable, free_unused
from jobs.web.project_data import Shown

_LIMITS = Limits(seconds=10.0, memory_bytes=200_000_000)
_ROW = "row of winnow"
_HELD = {(source.table.name, source.column): name for name, source in SOURCES.items() if name != "content"}
_VERDICT = ("keep", "reasons")


def fulfilled(shown: Shown, condition: str) -> Array:
    """Return which frames fulfil a condition on the columns of `curated`, boolean, shape (N,).

    Raises `UserError` for a condition that is not one, or takes too long.
    """
    check_condition(condition)
    columns, known = columns_of(condition), sources()
    if columns is None or not columns <= {*known, *schemas.FRAME_KEY}:
        # The line break ends a comment.
        query = f"SELECT stream_id, frame_idx FROM {NAME} WHERE ({condition}\n)"
        found = shown.frames.mask_of(shown.view.sql(query, _LIMITS))
    else:
        rows = _rows(shown.frames, columns)
        query = f'SELECT "{_ROW}" FROM {NAME} WHERE ({condition}\n)'
        found = np.zeros(rows.num_rows, np.bool_)
        found[shown.view.sql_on({NAME: rows}, query, _LIMITS)[_ROW].to_numpy()] = True
    free_unused()
    return found


def _rows(table: FrameTable, columns: Iterable[str]) -> pa.Table:
    """Return columns of `curated` in the order of the frames, and their places."""
    found: dict[str, pa.Array | pa.ChunkedArray] = {_ROW: pa.array(np.arange(len(table.keys), dtype=np.int32))}
    known, missing = sources(), dict[str, list[str]]()
    for name in sorted(columns):
        if name == "stream_id":
            found[name] = _streams(table)
        elif name == "frame_idx":
            found[name] = pa.array(table.keys.numbers)
        elif known[name] is schemas.CURATION and name in _VERDICT:
            found[name] = _verdicts(table, name)
        elif (known[name].name, name) in _HELD:
            found[name] = _numbers(table, known[name], name)
        else:
            missing.setdefault(known[name].name, []).append(name)
    for source, names in missing.items():
        rows = table.values(schemas.BY_NAME[source], names)
        found |= {name: rows[name] for name in names}
    return pa.table(found)


def _streams(table: FrameTable) -> pa.Array:
    counts = np.diff(table.keys.starts)
    place = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    return pa.DictionaryArray.from_arrays(pa.array(place), pa.array(table.keys.streams, pa.string()))


def _numbers(table: FrameTable, source: schemas.Table, name: str) -> pa.Array:
    values = table.column(_HELD[source.name, name])
    unknown = values == NO_TIME if values.dtype == np.int64 else np.isnan(values)
    return pa.array(values, mask=unknown).cast(source.arrow_schema.field(name).type)


def _verdicts(table: FrameTable, name: str) -> pa.Array:
    """Return verdicts, null where there is none, with the last word of people."""
    verdicts = table.verdicts
    if name == "keep":
        return pa.array(verdicts.kept, mask=(verdicts.bits & DECIDED) == 0)
    kinds, place = np.unique(verdicts.bits, return_inverse=True)
    lists = [verdicts.reasons_of(bits) if bits & DECIDED else None for bits in kinds.tolist()]
    return pa.array(lists, pa.list_(pa.string())).take(pa.array(place))
