"""Stretches of a stream, idle ones or scenes, and the frames that lie in them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.core.identity import Int64Array


def place_in_intervals(frames: pl.DataFrame, intervals: pl.DataFrame, by: str = "stream_id") -> pl.DataFrame:
    """Add the columns of intervals to the frames that lie in them, null for none, and their numbers, `interval`.

    Both have the column of the stream, `by`; `frames` has `frame_idx`, `intervals` has `start_idx` and `end_idx`, both
    included, which are left out, and no overlaps.
    """
    numbered = (
        intervals.sort(by, "start_idx").with_row_index("interval").with_columns(pl.col("interval").cast(pl.Int64))
    )
    placed = frames.sort(by, "frame_idx").join_asof(
        numbered,
        left_on="frame_idx",
        right_on="start_idx",
        by=by,
        strategy="backward",
        check_sortedness=False,
    )
    inside = pl.col("frame_idx") <= pl.col("end_idx")
    added = [name for name in numbered.columns if name not in {by, "start_idx", "end_idx"}]
    return placed.with_columns(pl.when(inside).then(name).alias(name) for name in added).drop("start_idx", "end_idx")


def interval_rows(stream_id: str, input_id: int, index: Int64Array, first: Int64Array, last: Int64Array) -> pa.Table:
    """Return M intervals of a stream as rows with input id, stream, numbers of first and last frame, and length.

    `first` and `last`, shape (M,), are positions into its frames, both included; `index`, shape (N,), has the numbers
    of these.
    """
    return pa.table(
        {
            "input_id": np.full(len(first), input_id),
            "stream_id": pa.repeat(pa.scalar(stream_id), len(first)),
            "start_idx": index[first],
            "end_idx": index[last],
            "n_frames": last - first + 1,
        }
    )
