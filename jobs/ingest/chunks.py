"""Timelines: parts of clips that are named together, kept in the table `chunks`, and taken as an input of runs."""

from __future__ import annotations

import csv
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

import schemas
from jobs.core.errors import UserError, one_line
from jobs.core.naming import wrong_with
from jobs.ingest import folders
from jobs.storage.data_files import write_part
from jobs.storage.store import Change, Snapshot, Store
from transforms.core.frame_spans import FrameSpans
from transforms.frames import chunking
from transforms.frames.chunking import Mark
from transforms.frames.clip_index import ClipIndex, index_clip
from transforms.frames.clip_writer import write_clip_part

TIMELINE = "timeline:"
"""What an input begins with that is the name of a timeline."""

_JOB = "chunk"
_BY = "expected scenes, minutes=N, or a CSV file of marks"
_MOST_MARKS = 100_000
_TIME = re.compile(r"(?:(?:(\d+):)?(\d{1,2}):)?(\d+(?:\.\d+)?)")


class Cut(NamedTuple):
    """Intervals of frame numbers, half-open, a title for each, and by what they were cut."""

    intervals: list[tuple[int, int]]
    titles: list[str]
    reason: str


def create(store: Store, given: str, by: str, name: str, made_by: str) -> list[dict[str, Any]]:
    """Cut a clip, keep the chunks under the name of a new timeline, and return their rows.

    `by` is `scenes`, `minutes=N`, or the path of a CSV file with marks. Raises `UserError` for a name that is in use,
    what is no clip, and chunks that cannot be made.
    """
    problems = [wrong] if (wrong := wrong_with("timeline", name)) else []
    at = folders.existing(given, problems)
    if at is not None and not folders.is_clip(at):
        problems.append(f"input {given}: expected a clip; timelines are of clips alone")
    if problems or at is None:
        raise UserError(problems)
    try:
        index = index_clip(str(at))
    except OSError as error:
        raise UserError(f"input {given}: {one_line(error)}") from error
    stream_id = next((r["stream_id"] for r in _streams(store) if folders.same_place(r["uri"], at)), at.stem)
    cut = _cut(store, by, index, stream_id)
    rows = _rows(cut, index)
    same = {"timeline": name, "stream_id": stream_id, "uri": str(at), "made_by": made_by, "made_ns": time.time_ns()}
    found = [{**row, **same, "chunk_idx": number} for number, row in enumerate(rows)]
    if not found:
        raise UserError(f"--by {by}: no frame of {given} is in any of the chunks")
    store.create_tables([schemas.CHUNKS])

    def change(snapshot: Snapshot) -> Change | None:
        if name in snapshot.read(("timeline",))["timeline"].to_pylist():
            raise UserError(f"timeline {name}: there is one of this name; runs refer to it, so choose another name")
        table = pa.Table.from_pylist(found, schemas.CHUNKS.arrow_schema)
        return Change([write_part(store.root, schemas.CHUNKS, table)], [])

    store.transact(schemas.CHUNKS, change, _JOB)
    return found


def chunks_of(store: Store, name: str) -> list[dict[str, Any]]:
    """Return the chunks of a timeline in order. Raises `UserError` for none of this name."""
    rows = store.read(schemas.CHUNKS).to_pylist()
    found = sorted((row for row in rows if row["timeline"] == name), key=lambda row: row["chunk_idx"])
    if not found:
        names = sorted({row["timeline"] for row in rows})
        raise UserError(f"input {TIMELINE}{name}: expected one of {', '.join(names) or 'none: winnow chunk makes one'}")
    return found


class TimelineInputs(NamedTuple):
    """What timelines refer to: the clips, the ids of their streams, and the frames that count of each."""

    inputs: tuple[str, ...]
    stream_ids: tuple[str, ...]
    spans: dict[str, FrameSpans]


def resolved(store: Store, inputs: Sequence[str], stream_ids: Sequence[str]) -> TimelineInputs | None:
    """Return what inputs are that name timelines; None where none does. Raises `UserError` for mixed ones."""
    named = [given for given in inputs if given.startswith(TIMELINE)]
    if not named:
        return None
    if len(named) != len(inputs) or stream_ids:
        raise UserError(
            f"input {named[0]}: timelines say which streams they are of; name no other inputs, and no --stream-id"
        )
    rows = [row for given in dict.fromkeys(named) for row in chunks_of(store, given.removeprefix(TIMELINE))]
    places = {row["stream_id"]: row["uri"] for row in rows}
    known = {row["stream_id"]: row["uri"] for row in _streams(store)}
    # A clip that was moved since is where its stream is now.
    places |= {name: known[name] for name in places if name in known}
    spans = {
        name: FrameSpans.of((row["start_idx"], row["end_idx"]) for row in rows if row["stream_id"] == name)
        for name in places
    }
    return TimelineInputs(tuple(places.values()), tuple(places), spans)


def write(store: Store, name: str, folder: Path) -> list[dict[str, Any]]:
    """Write the chunks of a timeline as MP4 files, and return `file` and `written` (`copied`, `encoded`) of each.

    Files that are there are replaced one by one, each when it is whole. Raises `UserError` for what cannot be written.
    """
    rows = chunks_of(store, name)
    known = {row["stream_id"]: row["uri"] for row in _streams(store)}
    indexes: dict[str, ClipIndex] = {}
    found = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for row in rows:
            clip = known.get(row["stream_id"], row["uri"])
            if clip not in indexes:
                indexes[clip] = index_clip(clip)
            index = indexes[clip]
            if row["end_idx"] > len(index.pts) or int(index.pts[row["start_idx"]]) != row["start_pts"]:
                raise UserError(f"timeline {name}: {clip} is not the clip that it was made of; make it once more")
            target = folder / f"{name}-{row['chunk_idx']:04d}.mp4"
            partial = target.with_suffix(".partial")
            written = write_clip_part(clip, index, row["start_idx"], row["end_idx"], partial)
            partial.replace(target)
            found.append({**row, "file": str(target), "written": written})
    except OSError as error:
        raise UserError(f"--write {folder}: {one_line(error)}") from error
    return found


def _streams(store: Store) -> list[dict[str, Any]]:
    return store.read(schemas.STREAMS, ("stream_id", "uri")).to_pylist()


def _cut(store: Store, by: str, index: ClipIndex, stream_id: str) -> Cut:
    if by == schemas.SCENES.written_by:
        rows = store.read(schemas.SCENES, ("stream_id", "start_idx")).to_pylist()
        starts = [row["start_idx"] for row in rows if row["stream_id"] == stream_id]
        if not starts:
            raise UserError(
                f"--by scenes: expected scenes of stream {stream_id}, found none; `winnow run --input CLIP --add-stage "
                "scenes` finds them"
            )
        intervals = chunking.at_frames(index, starts)
        return Cut(intervals, [""] * len(intervals), "scene")
    kind, _, number = by.partition("=")
    if kind == "minutes":
        try:
            minutes = float(number)
        except ValueError:
            minutes = 0.0
        if not 1e-3 <= minutes < 1e6:
            raise UserError(f"--by {by}: expected minutes=N with a number above 0.001")
        intervals = chunking.by_length(index, minutes * 60)
        return Cut(intervals, [""] * len(intervals), "minutes")
    if not Path(by).is_file():
        raise UserError(f"--by {by}: {_BY}")
    marks = read_marks(Path(by))
    return Cut(chunking.between_marks(index, marks), [mark.title for mark in marks], "mark")


def read_marks(path: Path) -> list[Mark]:
    """Return the marks of a CSV file with the columns `start`, `end` and `title`, of which the first is needed.

    Times are seconds, or hours:minutes:seconds, after the first frame. Without an end, a mark ends where the next one
    begins, the last one with the clip. Raises `UserError` with every line that is wrong.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"marks {path}: {one_line(error)}") from error
    reader = csv.DictReader(text.splitlines())
    if "start" not in (reader.fieldnames or ()):
        raise UserError(f"marks {path}: expected a line with the columns start, end, title; `start` is needed")
    problems: list[str] = []
    found: list[tuple[float, float | None, str]] = []
    for number, row in enumerate(reader, 2):
        start, end = _seconds(row["start"]), _seconds(row.get("end") or "")
        has_end = bool((row.get("end") or "").strip())
        if start is None or (has_end and end is None):
            problems.append(f"marks {path}, line {number}: expected seconds or hours:minutes:seconds, found {row}")
        elif end is not None and end <= start:
            problems.append(f"marks {path}, line {number}: expected an end after the start, found {row}")
        else:
            found.append((start, end, (row.get("title") or "").strip()))
    if not found and not problems:
        problems.append(f"marks {path}: expected a line for each chunk, found none")
    if problems or len(found) > _MOST_MARKS:
        raise UserError(problems[:10] or f"marks {path}: expected at most {_MOST_MARKS:,} lines")
    found.sort(key=lambda each: each[0])
    following = [each[0] for each in found[1:]] + [None]
    return [
        Mark(start, next_ if end is None else end, title)
        for (start, end, title), next_ in zip(found, following, strict=True)
    ]


def _seconds(text: str) -> float | None:
    parts = _TIME.fullmatch(text.strip())
    return None if parts is None else int(parts[1] or 0) * 3600 + int(parts[2] or 0) * 60 + float(parts[3])


def _rows(cut: Cut, index: ClipIndex) -> list[dict[str, Any]]:
    """Return what the table says of each interval that has frames."""
    unit = float(index.time_base)
    rows = []
    for (begin, end), title in zip(cut.intervals, cut.titles, strict=True):
        if end <= begin:
            continue
        start, stop = int(index.pts[begin]), chunking.end_pts(index, end)
        first = int(index.pts[0])
        rows.append(
            {
                "start_pts": start,
                "end_pts": stop,
                "time_base": unit,
                "start_idx": begin,
                "end_idx": end,
                "n_frames": end - begin,
                "start_s": (start - first) * unit,
                "end_s": (stop - first) * unit,
                "title": title,
                "reason": cut.reason,
            }
        )
    return rows
