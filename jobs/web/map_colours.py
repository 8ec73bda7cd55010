"""Colours of the frames on the map: a column of `curated` as one byte per frame, with what the bytes mean."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import polars as pl

from jobs.core.errors import UserError
from jobs.views import curated_view
from jobs.web.frame_columns import DECIDED, Array
from jobs.web.frame_table import FrameTable
from jobs.web.plain import plain
from jobs.web.project_data import Shown

UNKNOWN = 255
"""The code of a frame without a value."""

MOST_VALUES = 9
"""Values that have a colour of their own, the most frequent ones; all others share the next code."""

_STEPS = 254
_TAIL = 0.01
_LEFT_OUT = frozenset({"frame_idx", "content_hash", "uri", "error", "stat_id", "mtime_ns", "representative_idx"})


class Colours(NamedTuple):
    """A code for each frame, uint8, shape (N,), and the legend: an interval of numbers, or values in order of codes."""

    codes: Array
    legend: dict[str, Any]


def columns(shown: Shown) -> list[str]:
    """Return the columns that frames can be coloured by: numbers, texts, switches and lists of texts."""
    return shown.result("map columns", lambda: _columns(shown))


def colours(shown: Shown, column: str) -> Colours:
    """Return the colours by a column. Raises `UserError` for one that there is not."""
    if column not in columns(shown):
        raise UserError(f"column: expected one of {', '.join(columns(shown))}; found {column[:60]!r}")
    return shown.result(("colours", column), lambda: _colours(shown, column))


def _columns(shown: Shown) -> list[str]:
    keys, known = shown.view.selection.keys, curated_view.sources()
    texts = (pl.String, pl.Boolean, pl.List(pl.String))
    found = []
    for name, kind in shown.view.lazy(curated_view.NAME).collect_schema().items():
        is_there = name == "stream_id" or (name in known and known[name].written_by in keys)
        if is_there and name not in _LEFT_OUT and (kind.is_numeric() or kind in texts):
            found.append(name)
    usual = [name for name in ("keep", "reasons", "stream_id") if name in found]
    return [*usual, *(name for name in found if name not in usual)]


def _colours(shown: Shown, column: str) -> Colours:
    values = _values(shown.frames, column)
    if isinstance(values.dtype, pl.List):
        # A frame with several values has the colour of the first one.
        values = values.list.first()
    codes, legend = _of_numbers(values) if values.dtype.is_numeric() else _of_names(values.cast(pl.String))
    return Colours(codes, {"column": column, **legend})


def _values(table: FrameTable, column: str) -> pl.Series:
    """Return a column of `curated` in the order of the frames, from the one table that has it."""
    if column == "stream_id":
        streams = pl.Series(column, table.keys.streams, pl.String)
        return streams.gather(table.keys.streams_of(np.arange(len(table.keys))))
    if column == "keep":
        decided = (table.verdicts.bits & DECIDED) != 0
        return pl.Series(column, table.verdicts.kept).set(pl.Series(~decided), None)
    return pl.Series(column, table.values(curated_view.sources()[column], [column])[column])


def _of_numbers(values: pl.Series) -> tuple[Array, dict[str, Any]]:
    numbers = values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    known = numbers[np.isfinite(numbers)]
    if not len(known):
        return np.full(len(numbers), UNKNOWN, np.uint8), {"kind": "number", "low": None, "high": None}
    low, high = (float(edge) for edge in np.quantile(known, (_TAIL, 1 - _TAIL)))
    scaled = np.clip((numbers - low) / max(high - low, 1e-12), 0, 1) * _STEPS
    codes = np.where(np.isfinite(numbers), np.nan_to_num(scaled), UNKNOWN).astype(np.uint8)
    return codes, {"kind": "number", "low": plain(low), "high": plain(high)}


def _of_names(values: pl.Series) -> tuple[Array, dict[str, Any]]:
    counts = values.drop_nulls().value_counts(sort=True, name="n").sort(["n", values.name], descending=[True, False])
    names = counts[values.name].head(MOST_VALUES).to_list()
    others = counts["n"].slice(MOST_VALUES).sum()
    known = {name: at for at, name in enumerate(names)}
    codes = values.replace_strict(known, default=MOST_VALUES, return_dtype=pl.UInt8) if known else pl.Series([])
    codes = pl.select(pl.when(values.is_null()).then(pl.lit(UNKNOWN, pl.UInt8)).otherwise(codes)).to_series()
    frames = [{"value": name, "frames": int(n)} for name, n in zip(names, counts["n"], strict=False)]
    return codes.to_numpy(), {"kind": "values", "values": frames, "others": int(others)}
