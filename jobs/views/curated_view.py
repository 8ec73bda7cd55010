"""`curated`: one row per frame with the columns of every per-frame table."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

import schemas

NAME = "curated"

_JOINED = tuple(table for table in schemas.ALL if table.per_frame and table.in_curated and table != schemas.FRAMES)
# Binary columns are of no use to readers, who find them in `fingerprints` and `motion`.
_LEFT_OUT = frozenset({"stage_key", "input_id", "content_id", "layout", "tiles", "sketch", *schemas.FRAME_KEY})


def sources() -> dict[str, schemas.Table]:
    """Return the table that each column of `curated` comes from, without the key and names that several tables have."""
    found = {column.name: schemas.FRAMES for column in schemas.FRAMES.columns if column.name not in _LEFT_OUT}
    shared: set[str] = set()
    for each in _JOINED:
        names = {column.name for column in each.columns} - _LEFT_OUT
        shared |= names & found.keys()
        found |= dict.fromkeys(names, each)
    return {name: table for name, table in found.items() if name not in shared}


def curated(table: Callable[[str], pl.LazyFrame], named: frozenset[str] | None = None) -> pl.LazyFrame:
    """Return the frames, given the tables by name, with the columns of the per-frame tables.

    A column is null where its stage has no row of the frame. Where only the columns `named` are read, in lower case,
    tables that have none of these are left out: no reader of lazy frames knows that joining them changes no row.
    """
    joined = table("frames").drop("stage_key", "input_id")
    known = {column.name for each in schemas.ALL for column in each.columns}
    # An unknown name is refused, with those that are like it.
    named = named if named is not None and named <= known else None
    for each in _JOINED:
        columns = [column.name for column in each.columns if column.name not in _LEFT_OUT]
        if named is not None and named.isdisjoint(columns):
            continue
        rows = table(each.name).select(*schemas.FRAME_KEY, *columns)
        joined = joined.join(rows, on=schemas.FRAME_KEY, how="left")
    return joined
