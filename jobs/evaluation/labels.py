"""Labels that verdicts are held against, as people and programs write them: CSV or JSON."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from jobs.errors import UserError, one_line

FLAGS = ("blurry", "dark", "overexposed", "low_information")
"""The reasons that a frame can be labelled with."""

_FRAMES = {"stream_id": pl.String, "frame_idx": pl.Int64, **dict.fromkeys(FLAGS, pl.Boolean)}
_PAIRS = {
    "stream_id_a": pl.String,
    "frame_idx_a": pl.Int64,
    "stream_id_b": pl.String,
    "frame_idx_b": pl.Int64,
    "duplicate": pl.Boolean,
}
_IDLE = {"stream_id": pl.String, "start_idx": pl.Int64, "end_idx": pl.Int64}
_KINDS: dict[str, dict[str, Any]] = {"frames": _FRAMES, "pairs": _PAIRS, "idle": _IDLE}
_TRUTH = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False, "": None}


@dataclass(frozen=True)
class Labels:
    """What is known to be true.

    `frames`: per frame, for each of `FLAGS` whether it is, null where that was not looked at. `pairs`: two frames and
    whether they are duplicates. `idle`: intervals, both ends included; a stream with a row of nulls has none.
    """

    frames: pl.DataFrame
    pairs: pl.DataFrame
    idle: pl.DataFrame


def read_labels(paths: Sequence[Path]) -> Labels:
    """Read label files. Raises `UserError` with all that is wrong with them."""
    found: dict[str, list[pl.DataFrame]] = {kind: [] for kind in _KINDS}
    problems: list[str] = []
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8")
            parts = _from_json(json.loads(text)) if path.suffix.lower() == ".json" else _from_csv(text)
            for kind, rows in parts:
                found[kind].append(_typed(rows, kind))
        except (OSError, ValueError) as error:
            problems.append(f"labels {path}: {one_line(error)}")
    if problems:
        raise UserError(problems)
    tables = {kind: pl.concat(some) if some else pl.DataFrame(schema=_KINDS[kind]) for kind, some in found.items()}
    if not any(table.height for table in tables.values()):
        raise UserError(f"labels {', '.join(map(str, paths))}: expected at least one label, found none")
    return Labels(**tables)


def _from_json(document: Any) -> list[tuple[str, list[dict[str, Any]]]]:
    if not isinstance(document, dict) or not set(document) <= set(_KINDS):
        raise ValueError(f"expected an object with lists under {', '.join(_KINDS)}")
    for kind, rows in document.items():
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ValueError(f"{kind}: expected a list of objects")
    return list(document.items())


def _from_csv(text: str) -> list[tuple[str, list[dict[str, Any]]]]:
    rows = pl.read_csv(io.StringIO(text), infer_schema=False).to_dicts() if text.strip() else []
    names = set(rows[0]) if rows else set(text.strip().split("\n")[0].split(","))
    for kind, needed in (("pairs", {"stream_id_a"}), ("idle", {"start_idx"}), ("frames", {"frame_idx"})):
        if needed <= names:
            return [(kind, rows)]
    raise ValueError("expected a header with stream_id, frame_idx and flags, or that of pairs or of idle intervals")


def _typed(rows: list[dict[str, Any]], kind: str) -> pl.DataFrame:
    columns = _KINDS[kind]
    unknown = sorted({name for row in rows for name in row} - set(columns))
    if unknown:
        raise ValueError(f"{kind} have no column {unknown[0]!r}; there are: {', '.join(columns)}")
    needed = [name for name in columns if name not in FLAGS]
    values: dict[str, list[Any]] = {name: [] for name in columns}
    for number, row in enumerate(rows, 1):
        for name, dtype in columns.items():
            value = _value(row.get(name), dtype, f"{kind}, row {number}, {name}")
            if value is None and name in needed and kind != "idle":
                raise ValueError(f"{kind}, row {number}: {name} is missing")
            values[name].append(value)
    return pl.DataFrame(values, schema=columns)


def _value(value: Any, dtype: Any, place: str) -> Any:
    if value is None:
        return None
    if dtype == pl.Boolean:
        text = str(value).strip().lower()
        if text not in _TRUTH:
            raise ValueError(f"{place}: expected 1, 0, true, false or nothing, found {value!r}")
        return _TRUTH[text]
    if dtype == pl.Int64:
        text = str(value).strip()
        if text and not text.isdigit():
            raise ValueError(f"{place}: expected a frame number, found {value!r}")
        return int(text) if text else None
    return str(value)
