"""Listing of clips as streams: which of their frames are used, and their numbers."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.core.errors import one_line
from jobs.ingest.stream_listing import StreamFiles
from jobs.storage.paths import Place
from jobs.storage.store import Snapshot
from transforms.core.identity import is_racy, stat_ids
from transforms.frames import clip_index
from transforms.frames.clip_time import ClipTime, clip_time
from transforms.frames.local_time import LocalZone
from transforms.frames.numbering import IngestParams
from transforms.frames.sampling import sample
from transforms.io import object_store


def list_clip(
    stream_id: str,
    path: Place,
    params: IngestParams,
    before: Mapping[str, Any] | None,
    seen: Snapshot,
) -> StreamFiles:
    """Return a clip as a stream; one that cannot be read has no frames, and the reason in its row.

    A frame's number is its position among all frames of the clip in presentation order. A clip that no longer exists
    has no frames. `before` is the stream's row in `streams`, if any, and `seen` the `listing` table: a clip that was
    listed with the same size, mtime, sampling and time zone is not read again.
    """
    described: dict[str, Any] = {"kind": "video", "sampling": sampling_text(params), "listed_ns": time.time_ns()}
    try:
        size_bytes, mtime_ns, changed_ns = _status(path)
    except FileNotFoundError:
        return StreamFiles.of(stream_id, str(path), NO_FRAMES, **described, step=1)
    except OSError as error:
        why = f"it cannot be read: {error.strerror or error}"
        return StreamFiles.of(stream_id, str(path), NO_FRAMES, **described, step=1, error=why)
    uri, size, mtime = pa.array([str(path)]), np.array([size_bytes]), np.array([mtime_ns])
    # A clip that was just written may be written again within one tick of the clock.
    racy = is_racy(mtime_ns, described["listed_ns"], changed_ns)
    described["source_id"] = None if racy else int(stat_ids(uri, size, mtime)[0])
    if before is not None and not racy and all(before[n] == described[n] for n in ("sampling", "source_id")):
        known = listed_before(stream_id, path, before, seen)
        in_zone = known is not None and (known.time_source != "name" or known.row["timezone"] == params.timezone)
        if known is not None and in_zone:
            return known
    try:
        index = clip_index.index_clip(str(path))
        begins = clip_time(str(path))
        if begins is not None and begins.source == "name" and params.timezone is not None:
            moments = LocalZone.named(params.timezone).moments(np.array([begins.begin_ns]))
            begins = ClipTime(int(moments.t_ns[0]), "name")
            described |= {"timezone": params.timezone, "n_unclear_times": moments.n_twice + moments.n_never}
    except OSError as error:
        described["source_id"] = None
        return StreamFiles.of(stream_id, str(path), NO_FRAMES, **described, step=1, error=one_line(error))
    chosen = sample(index, params.fps)[:: params.stride]
    columns = (
        chosen,
        pa.array(index.fragments(chosen), pa.string()),
        index.size_bytes[chosen],
        np.full(len(chosen), mtime_ns),
        pa.nulls(len(chosen), pa.int64()) if begins is None else begins.begin_ns + index.since_first_ns(chosen),
    )
    files = pa.table(dict(zip(NO_FRAMES.column_names, columns, strict=True)))
    # Sampling leaves no gaps: every frame follows the sampled one before it.
    step = int(np.diff(chosen).max()) if len(chosen) > 1 else 1
    return StreamFiles.of(stream_id, str(path), files, time_source=begins and begins.source, **described, step=step)


def _status(path: Place) -> tuple[int, int, int | None]:
    """Return size, mtime and ctime of a clip; an object has no ctime."""
    file = path.on_disk()
    if file is None:
        entry = object_store.head(str(path))
        return entry.size_bytes, entry.mtime_ns, None
    found = file.stat()
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


_COLUMNS = ("frame_idx", "name", "size_bytes", "mtime_ns", "t_ns")
NO_FRAMES = pa.schema([(name, pa.string() if name == "name" else pa.int64()) for name in _COLUMNS]).empty_table()


def listed_before(stream_id: str, path: Place, before: Mapping[str, Any], seen: Snapshot) -> StreamFiles | None:
    """Return the stream of a clip or a recording from its earlier listing, if the table has it."""
    columns = ("frame_idx", "uri", "size_bytes", "mtime_ns", "t_ns", "time_source")
    listed = seen.read(columns, streams=frozenset([stream_id])).sort_by("frame_idx")
    if before["uri"] != str(path) or listed.num_rows != before["n_frames"]:
        return None
    names = pc.utf8_slice_codeunits(listed["uri"], len(str(path)))
    source = listed["time_source"][0].as_py() if listed.num_rows else None
    files = listed.drop_columns(["uri", "time_source"]).append_column("name", names)
    return StreamFiles(stream_id, str(path), files, dict(before), source)


def sampling_text(params: IngestParams) -> str:
    """Return which frames of a stream are used, as the column `sampling` says it."""
    rate = params.fps if isinstance(params.fps, str) else f"{params.fps:g}"
    return rate if params.stride == 1 else f"{rate}, every {params.stride}."
