"""`annotations` as readers see them: detections with masks and tracks, propagated objects, texts, imported labels."""

from __future__ import annotations

from collections.abc import Callable, Container

import polars as pl

import schemas
from schemas import FRAME_KEY

NAME = schemas.ANNOTATIONS.name

_REFINED_BY = {schemas.MASKS: "mask_rle", schemas.TRACKS: "track_id"}
"""The column of an object that another table knows better, by that table."""


def all_annotations(
    rows: Callable[[schemas.Table], pl.LazyFrame], stages: Container[str], imported: pl.LazyFrame
) -> pl.LazyFrame:
    """Return the objects of all kinds in the columns of the stored table `annotations`, in no order.

    `rows` gives the selected rows of a stored table, and `stages` are those that have any. `imported` are rows of
    `imports`, which no stage has computed, so that `stage_key` and `input_id` are null. A propagated object takes
    the track of the object that it was propagated from. It is shown as long as that object is there, and no detector
    has run on its own frame.
    """
    found = rows(schemas.ANNOTATIONS)
    order = found.collect_schema().names()
    for table, column in _REFINED_BY.items():
        if table.written_by in stages:
            known = rows(table).select("annotation_id", better=column)
            found = found.join(known, on="annotation_id", how="left")
            found = found.with_columns(pl.coalesce("better", column).alias(column)).drop("better")
    together = [found.select(order)]
    if schemas.PROPAGATIONS.written_by in stages:
        origins = found.select("track_id", origin_id="annotation_id")
        propagated = rows(schemas.PROPAGATIONS).drop("track_id").join(origins, on="origin_id", how="inner")
        detected = rows(schemas.ANNOTATED).select(FRAME_KEY)
        together.append(propagated.join(detected, on=FRAME_KEY, how="anti").select(order))
    if schemas.TEXTS.written_by in stages:
        together.append(rows(schemas.TEXTS).select(order))
    together.append(imported.select(_columns(imported, order, found.collect_schema())))
    return pl.concat(together)


def _columns(rows: pl.LazyFrame, names: list[str], kinds: pl.Schema) -> list[pl.Expr]:
    """Return columns of these names and kinds, null where the rows have none of the name."""
    there = rows.collect_schema().names()
    return [(pl.col(name) if name in there else pl.lit(None)).cast(kinds[name]).alias(name) for name in names]
