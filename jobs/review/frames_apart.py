"""Which of many frames people are asked about: kept ones first, no two duplicates, none next to another."""

from __future__ import annotations

import numpy as np
import polars as pl

from jobs.review.queue_order import Array, Waiting, apart_rows
from jobs.views.categories import params_of
from jobs.views.view import View
from schemas import FRAME_KEY
from transforms.assess.uncertainty import RouteParams
from transforms.core.identity import hash_strings

_ROUTE = "route"
_NS_PER_S = 1e9
COLUMNS = ("uncertainty", "keep", "group_id", "time_ns")
"""What has to be known of frames, from `curated`, besides their keys."""


def spread_of(view: View) -> float:
    """Return `route.spread` of the run that a view shows, in seconds; the default where it had no stage `route`."""
    found = next((params.get(f"{_ROUTE}.spread") for params in params_of(view, _ROUTE)), None)
    return RouteParams().spread if found is None else float(found)


def frames_apart(
    frames: pl.DataFrame, reviewed: pl.DataFrame, steps: pl.DataFrame, spread: float, n: int | None
) -> pl.DataFrame:
    """Return those of some frames that the review queue would have, the `n` most uncertain, in their order of before.

    `frames` has `COLUMNS`. Those that somebody has reviewed, by the keys in `reviewed`, and their duplicates are not
    among them. `steps`: `stream_id` and `step` of streams. `spread` is in seconds, and above 0.
    """
    if not frames.height:
        return frames
    seconds = pl.coalesce(pl.col("time_ns") / _NS_PER_S, pl.col("frame_idx") / pl.col("step").fill_null(1))
    known = frames.join(steps, on="stream_id", how="left", maintain_order="left")
    seen = reviewed.select(FRAME_KEY).unique().with_columns(is_reviewed=True)
    known = known.join(seen, on=FRAME_KEY, how="left", maintain_order="left")
    codes = known.select(
        second=seconds.cast(pl.Float64),
        stream=pl.col("stream_id").rank("dense"),
        group=pl.col("group_id").rank("dense").cast(pl.Int64).fill_null(-1),
        keep=pl.col("keep").fill_null(False),
        uncertainty=pl.col("uncertainty").cast(pl.Float64).fill_null(0.0).clip(0, 0.999),
    )
    columns = {name: codes[name].to_numpy() for name in codes.columns}
    waiting = Waiting(chance=chances(known), **columns)
    rows = apart_rows(waiting, known["is_reviewed"].fill_null(False).to_numpy(), spread, n)
    return frames[np.sort(rows)]


def chances(frames: pl.DataFrame) -> Array:
    """Return what breaks ties of frames by their keys: a hash of each, int64, shape (N,)."""
    text = pl.concat_str("stream_id", pl.lit("\x1f"), "frame_idx")
    found: Array = hash_strings(frames.select(text).to_series().to_arrow()).view(np.int64)
    return found
