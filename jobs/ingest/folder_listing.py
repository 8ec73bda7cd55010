"""Listing of a folder of frames, as one stream or as several that the names tell apart."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jobs.ingest.clips import NO_FRAMES, sampling_text
from jobs.ingest.folders import Files, Tree
from jobs.ingest.frame_times import frame_times
from jobs.ingest.name_reading import NameReading, listed_names, read_names
from jobs.ingest.stream_listing import StreamFiles
from jobs.ingest.time_table import TimeTable, TimeTableError, read_times
from jobs.storage.paths import Place
from jobs.storage.store import Snapshot
from transforms.frames import numbering
from transforms.frames.name_pattern import LAST_NUMBER, FrameNameError
from transforms.frames.numbering import FrameFiles, IngestParams

Int64Array = npt.NDArray[np.int64]

_SHOWN = 5


def list_folder(
    stream_id: str,
    folder: Place,
    tree: Tree,
    params: IngestParams,
    known: Mapping[str, Mapping[str, Any]],
    seen: Snapshot,
    problems: list[str],
) -> list[StreamFiles]:
    """Return the streams of a folder, or none after adding to `problems`.

    `known` are the rows of `streams` by id, and `seen` is the table `listing`: a folder is read as it was before.
    Streams that the names tell apart are called `STREAM_ID/NAME`. A known one of which no frame is left is empty.
    """
    files = tree.scan(folder)
    listed_ns = time.time_ns()
    before = {n: row for n, row in known.items() if row["uri"] == str(folder) or (n == stream_id and not row["part"])}
    part = before.get(stream_id, {}).get("part")
    try:
        reading = _read(files, folder, params, before, seen)
    except FrameNameError as error:
        problems.append(f"{folder}: {error}")
        return []
    if reading is None:
        shown = ", ".join(repr(name) for name in files.unreadable[:_SHOWN])
        problems.append(f"{folder}: names of frames are not UTF-8, such as {shown}; rename them")
        return []
    try:
        times = read_times(params.times, folder) if params.times else None
    except TimeTableError as error:
        problems.append(str(error))
        return []
    base = stream_id.removesuffix(f"/{part}") if part else stream_id
    described = {"kind": "folder", "listed_ns": listed_ns, "naming": reading.pattern.text}
    described |= {"naming_now": reading.other.text if reading.other else None}
    wrong = len(problems)
    found = []
    for label, frames in (
        reading.streams or {part or "": numbering.order_files(pa.array([], pa.string()), "*")}
    ).items():
        name = f"{base}/{label}" if label else base
        clashes = _repeated(folder, frames, reading, params)
        if clashes:
            problems.append(clashes)
            continue
        try:
            found.append(_stream(name, label, folder, files, frames, reading, times, params, described))
        except TimeTableError as error:
            problems.append(str(error))
    labels = {stream.row["part"] for stream in found}
    for name, row in before.items():
        if row["part"] and row["part"] not in labels and len(problems) == wrong:
            kept: dict[str, Any] = described | {"step": row["step"], "sampling": row["sampling"], "part": row["part"]}
            found.append(StreamFiles.of(name, str(folder), NO_FRAMES, **kept))
    return found if len(problems) == wrong else []


def _read(
    files: Files, folder: Place, params: IngestParams, before: Mapping[str, Mapping[str, Any]], seen: Snapshot
) -> NameReading | None:
    """Return how names are read, None if some that are frames are not text. Raises `FrameNameError`."""
    row: Mapping[str, Any] = next(iter(before.values()), {})
    naming = row.get("naming")
    listed = listed_names(seen, {n: r["part"] for n, r in before.items()}, str(row.get("uri", folder)))
    reading = read_names(files.names, params.glob, params.name, naming, listed)
    lost = numbering.order_files(pa.array(files.unreadable, pa.string()), params.glob, reading.pattern)
    return None if len(lost.chosen) or lost.repeated else reading


def _repeated(folder: Place, frames: FrameFiles, reading: NameReading, params: IngestParams) -> str | None:
    """Return what is wrong with files of one number: all of it if they are not to be skipped, or if none is left."""
    if not frames.repeated or (not params.strict_sequence and len(frames.chosen)):
        return None
    shown = [f"{number} ({', '.join(names)})" for number, names in list(frames.repeated.items())[:_SHOWN]]
    more = f" and {len(frames.repeated) - _SHOWN} more" if len(frames.repeated) > _SHOWN else ""
    how = "" if reading.pattern == LAST_NUMBER else f", read as {reading.pattern.text!r}"
    choice = "rename them, choose with --set ingest.glob=PATTERN, or say how names are read with --set ingest.name="
    if params.strict_sequence:
        fix = f"{choice}PATTERN, or skip them all with --set ingest.strict_sequence=false"
        return f"{folder}: several files have one frame number{how}: {'; '.join(shown)}{more}; {fix}"
    return f"{folder}: all files share their frame number with another{how}: {'; '.join(shown)}{more}; {choice}PATTERN"


def _stream(
    stream_id: str,
    label: str,
    folder: Place,
    files: Files,
    frames: FrameFiles,
    reading: NameReading,
    times: TimeTable | None,
    params: IngestParams,
    described: Mapping[str, Any],
) -> StreamFiles:
    """Return one stream of a folder. Raises `TimeTableError` if times are missing that sampling needs."""
    names = files.names.take(pa.array(frames.chosen))
    found = frame_times(folder, names, frames, reading.pattern, times, params)
    t_ns = None if found is None else found.t_ns
    used = _sampled(folder, frames, t_ns, params)
    chosen, index = frames.chosen[used], frames.frame_idx[used]
    step = params.step or numbering.usual_step(index, reading.pattern)
    gaps = numbering.gaps(index, step)
    table = {
        "frame_idx": index,
        "name": names.take(pa.array(used)),
        "size_bytes": files.sizes[chosen],
        "mtime_ns": files.mtimes[chosen],
        "t_ns": pa.nulls(len(used), pa.int64()) if t_ns is None else t_ns.take(pa.array(used)),
    }
    return StreamFiles.of(
        stream_id,
        str(folder),
        pa.table(table),
        **described,
        part=label or None,
        time_source=found and found.source,
        timezone=found and found.timezone,
        n_unclear_times=found and found.n_unclear,
        sampling=sampling_text(params) if params.stride > 1 or not isinstance(params.fps, str) else None,
        step=step,
        gaps=gaps,
        n_missing=numbering.n_missing_of(gaps, step, reading.pattern),
        n_ignored=frames.n_ignored + len(files.unreadable),
        n_repeated=sum(len(names) for names in frames.repeated.values()),
    )


def _sampled(folder: Place, frames: FrameFiles, t_ns: pa.Array | None, params: IngestParams) -> Int64Array:
    """Return the positions of the frames to use, ascending. Raises `TimeTableError` if their times are not known."""
    every: Int64Array = np.arange(len(frames.chosen))
    if not isinstance(params.fps, str) and len(every):
        if t_ns is None or t_ns.null_count:
            missing = (
                "neither names nor EXIF data hold any" if t_ns is None else f"{t_ns.null_count:,} of them have none"
            )
            raise TimeTableError(
                f"{folder}: ingest.fps={params.fps:g} needs the times of its frames, and {missing}; take every n-th "
                "frame with --set ingest.stride=N, or give times with --set ingest.times=FILE.csv or ingest.name"
            )
        every = numbering.sample_times(t_ns.to_numpy(), params.fps)
    return every[:: params.stride]
