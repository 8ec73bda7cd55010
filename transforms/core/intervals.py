"""Join of frames with the frame intervals (idle intervals, scenes) that contain them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.core.identity import Int64Array


def place_in_intervals(frames: pl.DataFrame, intervals: pl.DataFrame, by: str = "stream_id") -> pl.DataFrame:
    """Add to each frame the columns of the interval that contains it, and that interval's number, `interval`.

    Frames outside all intervals get nulls. Both tables have the stream column `by`; `frames` has `frame_idx`,
    `intervals` has `start_idx` and `end_idx`, both inclusive, which are not added. Intervals of one stream must not
    overlap.
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
