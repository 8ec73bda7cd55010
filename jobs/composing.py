"""`annotations` as readers see them: what was found, with the masks and tracks that were made of it, and texts."""

from __future__ import annotations

from collections.abc import Callable, Container

import polars as pl

import schemas

FOUND = schemas.ANNOTATIONS.name
_TAKEN_OVER = {schemas.MASKS: "mask_rle", schemas.TRACKS: "track_id"}
"""What other tables know better of an object, by the table that knows it."""


def composed(rows: Callable[[schemas.Table], pl.LazyFrame], stages: Container[str]) -> pl.LazyFrame:
    """Return the rows of `annotations`, of `rows` by table, where these `stages` have any."""
    found = rows(schemas.ANNOTATIONS)
    order = found.collect_schema().names()
    for table, column in _TAKEN_OVER.items():
        if table.written_by in stages:
            known = rows(table).select("annotation_id", better=column)
            found = found.join(known, on="annotation_id", how="left")
            found = found.with_columns(pl.coalesce("better", column).alias(column)).drop("better")
    found = found.select(order)
    return pl.concat([found, rows(schemas.TEXTS).select(order)]) if schemas.TEXTS.written_by in stages else found


def statement(found: str, stages: Container[str]) -> str:
    """Return the SELECT that composes `annotations`; `found` is the name of the view of what was found."""
    better, joins = [], []
    for table, column in _TAKEN_OVER.items():
        if table.written_by in stages:
            better.append(f"coalesce({table.name}.{column}, found.{column}) AS {column}")
            joins.append(f"LEFT JOIN {table.name} ON {table.name}.annotation_id = found.annotation_id")
    replaced = f" REPLACE ({', '.join(better)})" if better else ""
    select = f"SELECT found.*{replaced} FROM {found} found {' '.join(joins)}"
    return f"{select} UNION ALL BY NAME SELECT * FROM texts" if schemas.TEXTS.written_by in stages else select
