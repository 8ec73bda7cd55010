"""Reading of ground-truth labels for curation, from CSV or JSON files."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from jobs.core.errors import UserError, one_line

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
_LAST_FRAME = 2**63 - 1
_SAID = 20
"""The most problems of a file that are reported one by one."""
_TRUTH = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False, "": None}


@dataclass(frozen=True)
class Labels:
    """Ground truth for the evaluation of curation.

    `frames`: for each frame and each of `FLAGS` whether it applies, null if not labelled. `pairs`: two frames and
    whether they are duplicates. `idle`: intervals, both ends inclusive; a stream with a row of nulls has none. Labels
    of several files are merged: a frame has one row, and so has a pair, in either order of its frames; no two intervals
    of a stream share a frame.
    """

    frames: pl.DataFrame
    pairs: pl.DataFrame
    idle: pl.DataFrame


@dataclass(frozen=True)
class _Row:
    """A row as written; `place` is its line in the file, or its number in a JSON list."""

    file: Path
    place: str
    values: dict[str, Any]

    def __str__(self) -> str:
        return f"labels {self.file}, {self.place}"


def read_labels(paths: Sequence[Path]) -> Labels:
    """Read label files. Raises `UserError` with all problems, including contradictions between them."""
    typed: dict[str, list[_Row]] = {kind: [] for kind in _KINDS}
    problems: list[str] = []
    for path in paths:
        of_file: list[str] = []
        try:
            for kind, rows in _read(path, of_file):
                typed[kind] += _typed(rows, kind, of_file)
        except (OSError, ValueError, RecursionError, csv.Error) as error:
            of_file.append(f"labels {path}: {one_line(error)}")
        problems += _shortened(of_file, f"labels {path}")
    clashes: list[str] = []
    frames, pairs = _said_once(typed["frames"], clashes), _pairs(typed["pairs"], clashes)
    idle = _intervals(typed["idle"], clashes)
    problems += _shortened(clashes, "labels")
    if problems:
        raise UserError(problems)
    if not (frames or pairs or idle):
        raise UserError(f"labels {', '.join(map(str, paths))}: expected at least one label, found none")
    tables = zip(_KINDS.values(), (frames, pairs, idle), strict=True)
    return Labels(*(pl.DataFrame(rows, schema=columns) for columns, rows in tables))


def _shortened(problems: list[str], what: str) -> list[str]:
    left = len(problems) - _SAID
    return [*problems[:_SAID], f"{what}: {left:,} more problems like these"] if left > 0 else problems


def _read(path: Path, problems: list[str]) -> Iterator[tuple[str, list[_Row]]]:
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ValueError(
            f"line {line}: expected text in UTF-8, found byte {data[error.start]:#04x}; save it so"
        ) from None
    if path.suffix.lower() == ".json":
        yield from _from_json(_parsed(text), path)
    else:
        yield _from_csv(text, path, problems)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"expected JSON, found a text that is none: {error}") from error


def _from_json(document: Any, path: Path) -> Iterator[tuple[str, list[_Row]]]:
    if not isinstance(document, dict) or not set(document) <= set(_KINDS):
        raise ValueError(f"expected an object with lists under {', '.join(_KINDS)}")
    for kind, rows in document.items():
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ValueError(f"{kind}: expected a list of objects")
    for kind, rows in document.items():
        yield kind, [_Row(path, f"{kind}, row {number}", row) for number, row in enumerate(rows, 1)]


def _from_csv(text: str, path: Path, problems: list[str]) -> tuple[str, list[_Row]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    names = [name.strip() for name in next(reader, [])]
    kind = _kind(names)
    rows: list[_Row] = []
    while True:
        # A quoted value may contain line breaks: a row is named by its first line.
        place = f"line {reader.line_num + 1}"
        try:
            values = next(reader, None)
        except csv.Error as error:
            raise ValueError(f"{place}: {error}; quote a value that holds a comma, and double its own quotes") from None
        if values is None:
            return kind, rows
        if not values:
            continue
        if len(values) != len(names):
            problems.append(
                f"labels {path}, {place}: expected {len(names)} values ({','.join(names)}), found {len(values)}; "
                "leave one empty where it is unknown, and quote one that holds a comma"
            )
            continue
        rows.append(_Row(path, place, dict(zip(names, values, strict=True))))


def _kind(names: list[str]) -> str:
    """Return the kind of labels of a file with these columns. Raises `ValueError` if they are of no kind."""
    telling = {"stream_id_a": "pairs", "start_idx": "idle", "frame_idx": "frames"}
    kind = next((kind for name, kind in telling.items() if name in names), None)
    if kind is None:
        raise ValueError(
            "line 1: expected a header with stream_id, frame_idx and flags, or that of pairs or of idle intervals, "
            f"found {','.join(names)[:80]!r}"
        )
    columns = _KINDS[kind]
    unknown = [name for name in names if name not in columns]
    if unknown:
        raise ValueError(f"line 1: {kind} have no column {unknown[0]!r}; there are: {', '.join(columns)}")
    absent = [name for name in columns if name not in names and name not in FLAGS]
    if absent:
        raise ValueError(f"line 1: {kind} need the columns {', '.join(absent)} as well; found {','.join(names)}")
    if len(set(names)) < len(names):
        raise ValueError(f"line 1: expected each column once, found {','.join(names)}")
    return kind


def _typed(rows: list[_Row], kind: str, problems: list[str]) -> list[_Row]:
    """Return the rows with values of the columns' types; invalid rows are reported and left out."""
    columns = _KINDS[kind]
    found = []
    for row in rows:
        wrong = [
            f"{kind} have no column {name!r}; there are: {', '.join(columns)}" for name in set(row.values) - {*columns}
        ]
        values = {}
        for name, dtype in columns.items():
            try:
                values[name] = _value(row.values.get(name), dtype)
            except ValueError as error:
                wrong.append(f"{name}: {error}")
        wrong = wrong or _incomplete(values, kind)
        problems += [f"{row}: {text}" for text in sorted(wrong)]
        if not wrong:
            found.append(_Row(row.file, row.place, values))
    return found


def _incomplete(values: dict[str, Any], kind: str) -> list[str]:
    """Return the problems of a row: missing or inconsistent values."""
    optional = {*FLAGS, "start_idx", "end_idx"}
    missing = [f"{name} is missing" for name, value in values.items() if value is None and name not in optional]
    if missing or kind == "frames":
        return missing
    if kind == "pairs":
        sides = [(values[f"stream_id_{side}"], values[f"frame_idx_{side}"]) for side in ("a", "b")]
        return ["expected two frames, found the same one twice; delete the row"] if sides[0] == sides[1] else []
    start, end = values["start_idx"], values["end_idx"]
    if (start is None) != (end is None):
        gone = "start_idx" if start is None else "end_idx"
        return [f"{gone} is missing; give both ends, or neither for a stream without idle intervals"]
    if start is not None and end < start:
        return [f"expected end_idx at or after start_idx, found {start} to {end}; swap them"]
    return []


def _value(value: Any, dtype: Any) -> Any:
    if value is None:
        return None
    text = str(value).strip()
    if dtype == pl.Boolean:
        if text.lower() not in _TRUTH:
            raise ValueError(f"expected 1, 0, true, false or nothing, found {value!r}")
        return _TRUTH[text.lower()]
    if dtype == pl.Int64:
        if text and not re.fullmatch("[0-9]+", text):
            raise ValueError(f"expected a frame number, found {value!r}")
        if len(text) > len(str(_LAST_FRAME)) or (text and int(text) > _LAST_FRAME):
            raise ValueError(f"expected a frame number, up to {_LAST_FRAME}, found {text[:40]}")
        return int(text) if text else None
    if isinstance(value, str | int | float):
        return str(value) if text else None
    raise ValueError(f"expected the name of a stream, found {value!r}")


def _said_once(rows: list[_Row], problems: list[str]) -> list[dict[str, Any]]:
    """Return one merged row per frame."""
    said: dict[tuple[str, int], dict[str, Any]] = {}
    by: dict[tuple[str, int, str], _Row] = {}
    for row in rows:
        stream, index = row.values["stream_id"], row.values["frame_idx"]
        of_frame = said.setdefault((stream, index), {**row.values, **dict.fromkeys(FLAGS)})
        for flag in FLAGS:
            value = row.values[flag]
            if value is None:
                continue
            first = by.setdefault((stream, index, flag), row)
            if first.values[flag] != value:
                problems.append(_contradiction(row, first, f"{stream} {index} is {'' if value else 'not '}{flag}"))
            of_frame[flag] = first.values[flag]
    return list(said.values())


def _pairs(rows: list[_Row], problems: list[str]) -> list[dict[str, Any]]:
    by: dict[frozenset[tuple[str, int]], _Row] = {}
    for row in rows:
        sides = [(row.values[f"stream_id_{side}"], row.values[f"frame_idx_{side}"]) for side in ("a", "b")]
        first = by.setdefault(frozenset(sides), row)
        if first.values["duplicate"] != row.values["duplicate"]:
            names = " and ".join(f"{stream} {index}" for stream, index in sides)
            no = "" if row.values["duplicate"] else "no "
            problems.append(_contradiction(row, first, f"{names} are {no}duplicates"))
    return [row.values for row in by.values()]


def _intervals(rows: list[_Row], problems: list[str]) -> list[dict[str, Any]]:
    of_stream: dict[str, list[_Row]] = {}
    for row in rows:
        of_stream.setdefault(row.values["stream_id"], []).append(row)
    kept: list[dict[str, Any]] = []
    for stream, mine in of_stream.items():
        # By start, then in the given order; a row that states "none" comes first.
        mine.sort(key=lambda row: -1 if row.values["start_idx"] is None else row.values["start_idx"])
        last: _Row | None = None
        for row in mine:
            if last is None or (row.values["start_idx"] is not None and _is_after(row, last)):
                kept.append(row.values)
                last = row
            elif row.values != last.values:
                what = "none" if last.values["start_idx"] is None else _span(last)
                problems.append(
                    f"{row}: {stream} is idle from {_span(row)}, but {_where(last, row)} says {what}; "
                    "let no two rows share a frame"
                )
                last = max(row, last, key=lambda one: -1 if one.values["end_idx"] is None else one.values["end_idx"])
    return kept


def _is_after(row: _Row, last: _Row) -> bool:
    return last.values["end_idx"] is not None and bool(row.values["start_idx"] > last.values["end_idx"])


def _span(row: _Row) -> str:
    return f"{row.values['start_idx']} to {row.values['end_idx']}"


def _contradiction(row: _Row, first: _Row, what: str) -> str:
    return f"{row}: {what}, but {_where(first, row)} says otherwise; keep the one that is true"


def _where(other: _Row, row: _Row) -> str:
    return other.place if other.file == row.file else f"{other.file}, {other.place}"
