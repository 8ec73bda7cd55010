"""Verdicts as people overrode them: what curation decided, but for frames that somebody kept or dropped by hand.

The stored rows of curation are never changed by an override, and no stage key depends on one: all that reads verdicts
joins them here, at the version of `overrides` that a run, a release or the current version shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from schemas import FRAME_KEY
from transforms.curate.curation import REASONS

KEEP, DROP = "keep", "drop"
"""What people decide about a frame."""

BY_HAND = "by_hand"
"""The reason of a frame that somebody dropped, and the flag of one that somebody kept."""

ALL_REASONS = (*REASONS, BY_HAND)
"""Every reason for dropping a frame, in the order of listing."""

IMAGE = (*FRAME_KEY, "content_hash")
"""Columns that name a frame and the image that it had when somebody decided."""


def valid(overrides: pl.LazyFrame, frames: pl.LazyFrame) -> pl.LazyFrame:
    """Return the overrides of frames that still show the image that was decided about.

    `frames` has the columns `IMAGE`.
    """
    return overrides.join(frames.select(IMAGE), on=list(IMAGE), how="semi")


def applied(verdicts: pl.LazyFrame, overrides: pl.LazyFrame) -> pl.LazyFrame:
    """Return verdicts with the last word of people, in no order.

    `verdicts` are rows of `curation` with the key of the frame, and any of the columns `keep`, `reasons` and `flags`;
    `overrides` are those that are valid. A frame that was dropped by hand has `by_hand` as its last reason, one that
    was kept by hand has no reason, and the flag `by_hand`.
    """
    said = pl.col("_decision")
    kept, dropped = said.eq_missing(KEEP), said.eq_missing(DROP)
    texts = pl.List(pl.String)
    by_hand = pl.lit([BY_HAND], texts)
    new = {
        "keep": pl.when(kept).then(True).when(dropped).then(False).otherwise("keep"),
        "reasons": pl.when(kept)
        .then(pl.lit([], texts))
        .when(dropped)
        .then(pl.concat_list("reasons", by_hand))
        .otherwise("reasons"),
        "flags": pl.when(kept)
        .then(pl.concat_list(pl.col("flags").fill_null(pl.lit([], texts)), by_hand))
        .otherwise("flags"),
    }
    names = verdicts.collect_schema().names()
    decisions = overrides.select(*FRAME_KEY, pl.col("decision").alias("_decision"))
    rows = verdicts.join(decisions, on=FRAME_KEY, how="left")
    return rows.with_columns(**{name: value for name, value in new.items() if name in names}).select(names)


def of_frame(verdict: Mapping[str, Any], decision: str | None) -> dict[str, Any]:
    """Return the verdict on one frame with the last word of somebody, None for nobody's, as `applied` has it."""
    if decision == KEEP:
        return {**verdict, "keep": True, "reasons": [], "flags": [*(verdict["flags"] or ()), BY_HAND]}
    if decision == DROP:
        return {**verdict, "keep": False, "reasons": [*verdict["reasons"], BY_HAND]}
    return dict(verdict)
