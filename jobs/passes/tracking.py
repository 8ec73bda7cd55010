"""Tracks of a stream's objects, from the tables: what the stage `track` computes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pyarrow as pa

import schemas
from jobs.core.stage import Stage
from jobs.storage.store import Store
from schemas import FRAME_KEY
from transforms.models.track import Boxes, TrackParams, follow

_EDGES = ["bbox_x", "bbox_y", "bbox_w", "bbox_h"]


def tracks_of(
    store: Store, stage: Stage, stream: str, params: TrackParams, check: Callable[[], None]
) -> tuple[pa.Table, int]:
    """Return the rows of `tracks` for a stream, without `input_id`, and on how many frames objects were looked for.

    Frames that nobody looked at take time all the same: an object may be expected to have moved on meanwhile.
    """
    annotate, scenes = stage.upstream
    streams = frozenset([stream])
    seen = store.open(annotate.table).read(("frame_idx",), annotate.key, streams)
    frames = np.sort(seen["frame_idx"].to_numpy())
    columns = ("annotation_id", *FRAME_KEY, "category", "score", *_EDGES)
    read = store.open(schemas.ANNOTATIONS).read(columns, annotate.key, streams)
    # In an order that no file of the table has a say in.
    found = pl.DataFrame(read).sort("frame_idx", "score", "annotation_id", descending=[False, True, False])
    listed = pl.DataFrame(store.read(schemas.STREAMS, ("stream_id", "step", "gaps"))).filter(stream_id=stream)
    step, gaps = int(listed["step"][0]), listed["gaps"][0].to_list()
    starts = store.open(scenes.table).read(("start_idx",), scenes.key, streams)["start_idx"].to_numpy()
    borders = np.sort(np.concatenate([starts, np.array([gap["end"] for gap in gaps], np.int64)]))
    # Which borders lie up to a frame; where that is more than for the frame before it, there is one between them.
    passed = np.searchsorted(borders, frames, side="right")
    begins = np.diff(passed, prepend=-1) > 0
    numbers = found["category"].rank("dense").to_numpy().astype(np.int64)
    boxes = Boxes(
        np.searchsorted(frames, found["frame_idx"].to_numpy()),
        found.select(_EDGES).to_numpy().astype(np.float64),
        found["score"].to_numpy().astype(np.float64),
        numbers,
    )
    tracks = follow(boxes, (frames - (frames[0] if len(frames) else 0)) // step, begins, params, check)
    rows = found.select("annotation_id", *FRAME_KEY).with_columns(track_id=tracks).filter(pl.col("track_id") > 0)
    return rows.to_arrow(), len(frames)
