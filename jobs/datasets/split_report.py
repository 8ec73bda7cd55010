"""Leaks of the splits of an export, or of a release: their figures for the frames of a view."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

import schemas
from jobs.datasets.leak_report import leak_report
from jobs.datasets.split_units import continuous_streams
from jobs.storage.store import Store
from jobs.views import final_objects
from jobs.views.view import View
from schemas import FRAME_KEY

_IMAGE_KEY = [*FRAME_KEY, "content_hash"]


def report_of(
    view: View, frames: pl.DataFrame, objects: pl.DataFrame, fractions: Mapping[str, float]
) -> dict[str, Any]:
    """Return the figures of `leak_report` for frames of a view, with its scenes, and its streams that are continuous.

    `frames` has the key, `content_hash`, `group_id` and `split`; `objects` has `row`, `category` and `track_id`.
    """
    scenes = view.lazy("scenes").select("stream_id", "start_idx", "end_idx").collect()
    streams = frames["stream_id"].unique().sort().to_list()
    return leak_report(frames, objects, scenes, continuous_streams(view, streams), fractions)


def reports_of_release(store: Store, view: View) -> dict[int, dict[str, Any]]:
    """Return the figures for the splits that frames of a release, of which `view` is, have been given: by seed.

    All objects of the frames count, of all scores and classes.
    """
    shown = view.lazy("curated").filter(pl.col("status") == "ok").select(*_IMAGE_KEY, "group_id").collect()
    given = store.open(schemas.SPLITS).lazy().drop_nulls("split").select(*_IMAGE_KEY, "seed", "split").collect()
    found = {}
    for seed in given["seed"].unique().sort().to_list():
        mine = given.filter(pl.col("seed") == seed).drop("seed")
        frames = shown.join(mine, on=_IMAGE_KEY).sort(FRAME_KEY)
        if frames.height:
            sizes = dict(frames.group_by("split").len().sort("split").iter_rows())
            found[seed] = {"frames": sizes} | report_of(view, frames, _objects(view, frames), sizes)
    return found


def _objects(view: View, frames: pl.DataFrame) -> pl.DataFrame:
    numbered = frames.select(FRAME_KEY).with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))
    there = view.lazy(final_objects.NAME).select(*FRAME_KEY, "category", "track_id")
    return there.join(numbered.lazy(), on=FRAME_KEY).select("row", "category", "track_id").collect()
