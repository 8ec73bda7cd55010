"""Detection of moved streams: whether an input has the frames of a stream whose location no longer exists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl
from blake3 import blake3

import schemas
from jobs.ingest.stream_listing import StreamFiles
from jobs.storage.paths import place
from jobs.storage.store import Store

_LEAST_SHARE = 0.5
_COMPARED = 3


def is_gone(uri: str) -> bool:
    """Return whether a stream's location is known not to exist any more."""
    at = place(uri)
    try:
        path = at.on_disk()
        if path is None:
            return not at.exists() and next(iter(at.files_below()), None) is None
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        # If the disk does not respond, it may still exist.
        return False
    return False


def moved_from(stream: StreamFiles, known: Iterable[Mapping[str, Any]], store: Store) -> Mapping[str, Any] | None:
    """Return the `streams` row of a missing stream whose frames this one seems to have, or None.

    At least half of its frames, or half of the other stream's, must have number and size in common with it, and either
    equal mtimes too or, for a few that are compared, equal content.
    """
    for row in known:
        alike = all(row[name] == stream.row[name] for name in ("kind", "first_idx"))
        if alike and row["n_frames"] and is_gone(row["uri"]) and _holds_frames_of(stream, row["stream_id"], store):
            return row
    return None


def _holds_frames_of(stream: StreamFiles, stream_id: str, store: Store) -> bool:
    columns = ("frame_idx", "size_bytes", "mtime_ns")
    before = store.open(schemas.LISTING).read(columns, streams=frozenset([stream_id]))
    now = pl.DataFrame(stream.listing().select([*columns, "uri"]))
    common = now.join(pl.DataFrame(before), on=["frame_idx", "size_bytes"], suffix="_before").sort("frame_idx")
    if common.height < _LEAST_SHARE * min(now.height, before.num_rows) or not common.height:
        return False
    if (common["mtime_ns"] == common["mtime_ns_before"]).mean() >= _LEAST_SHARE:  # type: ignore[operator]
        return True
    if stream.row["kind"] != "folder":
        return common.height == min(now.height, before.num_rows)
    few = common.gather(sorted({n * (common.height - 1) // (_COMPARED - 1) for n in range(_COMPARED)}))
    return _have_content(few, stream_id, store)


def _have_content(files: pl.DataFrame, stream_id: str, store: Store) -> bool:
    """Return whether files with `frame_idx` and `uri` have the bytes of a stream's frames of these numbers."""
    heads = pl.DataFrame(store.read(schemas.HEADS, ("stream_id", "stage", "stage_key")))
    keys = heads.filter(stream_id=stream_id, stage=schemas.FRAMES.written_by)["stage_key"].to_list()
    streams, span = frozenset([stream_id]), (files["frame_idx"][0], files["frame_idx"][-1] + 1)
    for key in keys:
        rows = store.open(schemas.FRAMES).read(("frame_idx", "content_hash"), key, streams, span)
        known = dict(zip(rows["frame_idx"].to_pylist(), rows["content_hash"].to_pylist(), strict=True))
        try:
            return all(
                blake3(place(uri).read()).hexdigest() == known.get(number)
                for number, uri in files.select("frame_idx", "uri").iter_rows()
            )
        except OSError:
            return False
    return False
