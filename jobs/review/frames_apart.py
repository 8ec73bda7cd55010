"""Which of many frames people are asked about: kept ones first, no two duplicates, none next to another."""

from __future__ import annotations

import polars as pl

from jobs.views.categories import params_of
from jobs.views.view import View
from schemas import FRAME_KEY
from transforms.assess.uncertainty import DOUBTS, RouteParams, routed

_ROUTE = "route"
_NS_PER_S = 1e9
_SURE = 1.0
"""Errors expected in addition to those of the tables: no frame that was selected is too certain to be reviewed."""

COLUMNS = ("uncertainty", "keep", "group_id", "time_ns")
"""What has to be known of frames, from `curated`, besides their keys."""


def spread_of(view: View) -> float:
    """Return `route.spread` of the run that a view shows, in seconds; the default where it had no stage `route`."""
    found = next((params.get(f"{_ROUTE}.spread") for params in params_of(view, _ROUTE)), None)
    return RouteParams().spread if found is None else float(found)


def frames_apart(
    frames: pl.DataFrame, reviewed: pl.DataFrame, steps: pl.DataFrame, spread: float, n: int | None
) -> pl.DataFrame:
    """Return those of some frames that the review queue would have, the `n` most uncertain, in any order.

    `frames` has `COLUMNS`. Those that somebody has reviewed, by the keys in `reviewed`, and their duplicates are not
    among them. `steps`: `stream_id` and `step` of streams. `spread` is in seconds, and above 0.
    """
    if not frames.height:
        return frames
    seconds = pl.coalesce(pl.col("time_ns") / _NS_PER_S, pl.col("frame_idx") / pl.col("step").fill_null(1))
    known = frames.join(steps, on="stream_id", how="left", maintain_order="left")
    uncertain = pl.col("uncertainty").fill_null(0.0).clip(0, 0.999).cast(pl.Float64)
    asked = known.select(
        *FRAME_KEY,
        *(pl.lit(0.0).alias(name) for name in DOUBTS),
        "keep",
        "group_id",
        second=seconds,
        expected_errors=_SURE + uncertain / (1 - uncertain),
    )
    params = RouteParams(budget_person=n or frames.height, spread=spread, threshold=0.1)
    chosen = routed(asked, reviewed, params).filter(route="person").select(FRAME_KEY)
    return frames.join(chosen, on=FRAME_KEY, how="semi", maintain_order="left")
