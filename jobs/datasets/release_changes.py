"""The frames by which two releases differ, one by one: what became of each, and the objects that changed on it."""

from __future__ import annotations

from typing import Literal, get_args

import polars as pl

from jobs.datasets.label_diff import object_changes, objects
from jobs.datasets.release import verdicts_of
from jobs.views import final_objects
from jobs.views.view import View
from schemas import FRAME_KEY

FrameChange = Literal["added", "gone", "changed", "newly_kept", "newly_dropped"]
"""What can become of a frame; the words of `ReleaseDiff`."""
FRAME_CHANGES: tuple[FrameChange, ...] = get_args(FrameChange)

_SIDES = ("content_hash", "keep", "reasons")
_SHOWN_OBJECT = ("annotation_id", *FRAME_KEY, "category", "score", "bbox_x", "bbox_y", "bbox_w", "bbox_h")


def frame_changes(before: View, after: View) -> pl.DataFrame:
    """Return a row for each change of a frame, in order of frames; a frame may have several.

    `change` is one of `FRAME_CHANGES`; `content_hash`, `keep` and `reasons` are those after, and with `_before` those
    before; null where the frame was not there.
    """
    old, new = (verdicts_of(view).with_columns(there=pl.lit(True)) for view in (before, after))
    named = old.rename({name: f"{name}_before" for name in (*_SIDES, "there")})
    both = new.join(named, on=FRAME_KEY, how="full", coalesce=True)
    is_common = pl.col("there").is_not_null() & pl.col("there_before").is_not_null()
    tests: dict[FrameChange, pl.Expr] = {
        "added": pl.col("there_before").is_null(),
        "gone": pl.col("there").is_null(),
        "changed": is_common & (pl.col("content_hash") != pl.col("content_hash_before")),
        "newly_kept": is_common & ~pl.col("keep_before") & pl.col("keep"),
        "newly_dropped": is_common & pl.col("keep_before") & ~pl.col("keep"),
    }
    columns = [*FRAME_KEY, *_SIDES, *(f"{name}_before" for name in _SIDES)]
    parts = [both.filter(test).select(pl.lit(what).alias("change"), *columns) for what, test in tests.items()]
    return pl.concat(parts).sort(*FRAME_KEY, "change")


def label_changes(before: View, after: View) -> pl.DataFrame:
    """Return the rows of `object_changes` for the objects of two views."""
    return object_changes(objects(before), objects(after))


def objects_on(view: View, frames: pl.DataFrame) -> pl.DataFrame:
    """Return the objects on some frames, given by their key, in order of frames and ids."""
    found = view.lazy(final_objects.NAME).select(_SHOWN_OBJECT).join(frames.lazy(), on=FRAME_KEY, how="semi")
    return found.sort(*FRAME_KEY, "annotation_id").collect()
