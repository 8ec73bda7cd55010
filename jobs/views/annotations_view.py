"""`annotations` as readers see them: what was found, with masks and tracks, where it was carried to, and texts."""

from __future__ import annotations

from collections.abc import Callable, Container

import polars as pl

import schemas

FOUND = schemas.ANNOTATIONS.name
_TAKEN_OVER = {schemas.MASKS: "mask_rle", schemas.TRACKS: "track_id"}
"""What other tables know better of an object, by the table that knows it."""


def composed(rows: Callable[[schemas.Table], pl.LazyFrame], stages: Container[str]) -> pl.LazyFrame:
    """Return the rows of `annotations`, of `rows` by table, where these `stages` have any.

    What was carried on is there as long as what it was carried from is, and no detector has looked at its frame; it has
    the track of that.
    """
    found = rows(schemas.ANNOTATIONS)
    order = found.collect_schema().names()
    for table, column in _TAKEN_OVER.items():
        if table.written_by in stages:
            known = rows(table).select("annotation_id", better=column)
            found = found.join(known, on="annotation_id", how="left")
            found = found.with_columns(pl.coalesce("better", column).alias(column)).drop("better")
    together = [found.select(order)]
    if schemas.PROPAGATIONS.written_by in stages:
        known = found.select("track_id", origin_id="annotation_id")
        carried = rows(schemas.PROPAGATIONS).drop("track_id").join(known, on="origin_id", how="inner")
        seen = rows(schemas.ANNOTATED).select(schemas.FRAME_KEY)
        together.append(carried.join(seen, on=list(schemas.FRAME_KEY), how="anti").select(order))
    if schemas.TEXTS.written_by in stages:
        together.append(rows(schemas.TEXTS).select(order))
    return pl.concat(together)


def statement(found: str, stages: Container[str]) -> str:
    """Return the SELECT that composes `annotations`; `found` is the name of the view of what was found."""
    better, joins = [], []
    for table, column in _TAKEN_OVER.items():
        if table.written_by in stages:
            better.append(f"coalesce({table.name}.{column}, found.{column}) AS {column}")
            joins.append(f"LEFT JOIN {table.name} ON {table.name}.annotation_id = found.annotation_id")
    replaced = f" REPLACE ({', '.join(better)})" if better else ""
    select = f"SELECT found.*{replaced} FROM {found} found {' '.join(joins)}"
    parts = [select]
    if schemas.PROPAGATIONS.written_by in stages:
        parts.append(
            "SELECT carried.* EXCLUDE (origin_id) REPLACE (origin.track_id AS track_id) FROM propagations carried "
            f"JOIN ({select}) origin ON origin.annotation_id = carried.origin_id "
            "ANTI JOIN annotated ON annotated.stream_id = carried.stream_id "
            "AND annotated.frame_idx = carried.frame_idx"
        )
    if schemas.TEXTS.written_by in stages:
        parts.append("SELECT * FROM texts")
    return " UNION ALL BY NAME ".join(parts)
