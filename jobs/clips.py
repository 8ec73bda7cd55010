"""Clips as streams: which of their frames are taken, and under which numbers."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import schemas
from jobs.errors import one_line
from jobs.store import Store
from jobs.streams import StreamFiles
from transforms import sampling as sampling_
from transforms.identity import is_racy, stat_ids
from transforms.sampling import Sampling


def list_clip(stream_id: str, path: Path, sampling: Sampling, store: Store, problems: list[str]) -> StreamFiles | None:
    """Return a clip as a stream, or None after a word to `problems`.

    A frame's number is its place among all frames of the clip in order of presentation. A clip that is gone has no
    frames. One that was listed before with the same size, mtime and sampling is not read again.
    """
    listed_ns = time.time_ns()
    try:
        status = path.stat()
    except FileNotFoundError:
        return StreamFiles(stream_id, str(path), _NO_FILES, _row(stream_id, path, _NO_FILES, listed_ns, sampling, None))
    except OSError as error:
        problems.append(f"{path} cannot be read: {error.strerror}")
        return None
    uri, size, mtime = pa.array([str(path)]), np.array([status.st_size]), np.array([status.st_mtime_ns])
    # A clip that was written to just now may be again, within one tick of its clock.
    source_id = None if is_racy(status.st_mtime_ns, listed_ns) else int(stat_ids(uri, size, mtime)[0])
    known = _known(stream_id, path, sampling, source_id, store)
    if known is not None:
        return known
    try:
        index = sampling_.index_clip(str(path))
    except OSError as error:
        problems.append(f"{path}: {one_line(error)}")
        return None
    chosen = sampling_.sample(index, sampling)
    names = index.fragments(chosen)
    files = pa.table(
        {
            "frame_idx": chosen,
            "name": pa.array(names, pa.string()),
            "size_bytes": index.size_bytes[chosen],
            "mtime_ns": np.full(len(chosen), status.st_mtime_ns),
        }
    )
    row = _row(stream_id, path, files, listed_ns, sampling, source_id) | {"n_repeated": index.n_repeated}
    return StreamFiles(stream_id, str(path), files, row)


_NO_FILES = pa.table(
    {
        "frame_idx": pa.array([], pa.int64()),
        "name": pa.array([], pa.string()),
        "size_bytes": pa.array([], pa.int64()),
        "mtime_ns": pa.array([], pa.int64()),
    }
)


def _row(
    stream_id: str, path: Path, files: pa.Table, listed_ns: int, sampling: Sampling, source_id: int | None
) -> dict[str, Any]:
    index = files["frame_idx"].to_numpy()
    return {
        "stream_id": stream_id,
        "uri": str(path),
        "kind": "video",
        "n_frames": len(index),
        "first_idx": int(index[0]) if len(index) else None,
        "last_idx": int(index[-1]) if len(index) else None,
        # What was not taken is no gap: every frame taken follows the one taken before it.
        "step": int(np.diff(index).max()) if len(index) > 1 else 1,
        "gaps": [],
        "n_missing": 0,
        "n_ignored": 0,
        "n_repeated": 0,
        "sampling": _as_text(sampling),
        "source_id": source_id,
        "n_bad": 0,
        "sizes": [],
        "listed_ns": listed_ns,
    }


def _known(stream_id: str, path: Path, sampling: Sampling, source_id: int | None, store: Store) -> StreamFiles | None:
    """Return the stream as it was listed before, if it still is what it was."""
    rows = store.read(schemas.STREAMS)
    rows = rows.filter(pc.equal(rows["stream_id"], stream_id)).to_pylist()
    asked = _as_text(sampling)
    if (
        not rows
        or source_id is None
        or (rows[0]["uri"], rows[0]["sampling"], rows[0]["source_id"]) != (str(path), asked, source_id)
    ):
        return None
    columns = ("frame_idx", "uri", "size_bytes", "mtime_ns")
    listed = store.open(schemas.LISTING).read(columns, streams=frozenset([stream_id])).sort_by("frame_idx")
    if listed.num_rows != rows[0]["n_frames"]:
        return None
    names = pc.utf8_slice_codeunits(listed["uri"], len(str(path)))
    return StreamFiles(stream_id, str(path), listed.drop_columns("uri").append_column("name", names), rows[0])


def _as_text(sampling: Sampling) -> str:
    return sampling if isinstance(sampling, str) else f"{sampling:g}"
