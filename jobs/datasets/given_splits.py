"""The table `splits`: splits that exports of a release have assigned, which later exports keep."""

from __future__ import annotations

import time

import polars as pl

import schemas
from jobs.core.errors import UserError
from jobs.storage.data_files import write_part
from jobs.storage.store import Change, Snapshot, Store

_PICTURE = [*schemas.FRAME_KEY, "content_hash"]


def given_splits(store: Store, seed: int) -> pl.DataFrame:
    """Return what frames were given under a seed: key, `content_hash`, `split`, `left_out` and `release`."""
    rows = store.open(schemas.SPLITS).lazy().filter(pl.col("seed") == seed)
    return rows.select(*_PICTURE, "split", "left_out", "release").collect()


def record(store: Store, release: str, seed: int, frames: pl.DataFrame) -> None:
    """Add the frames that were given a split, or left out of all, to those that are on record; change none of these.

    `frames` has the key, `content_hash`, `split`, `left_out` and `split_by`. Raises `UserError` if another export has
    given one of them another split meanwhile.
    """

    def change(_: Snapshot) -> Change | None:
        known = given_splits(store, seed)
        both = frames.join(known, on=_PICTURE, suffix="_given")
        if (other := both.filter(pl.col("split").ne_missing(pl.col("split_given")))).height:
            raise UserError(
                f"another export has given splits to {other.height:,} of these frames meanwhile; export once more"
            )
        fresh = frames.join(known, on=_PICTURE, how="anti")
        if not fresh.height:
            return None
        named = fresh.with_columns(
            seed=pl.lit(seed, pl.Int64), release=pl.lit(release), given_ns=pl.lit(time.time_ns(), pl.Int64)
        )
        rows = named.select(schemas.SPLITS.arrow_schema.names).to_arrow().cast(schemas.SPLITS.arrow_schema)
        return Change([write_part(store.root, schemas.SPLITS, rows)])

    store.create_tables([schemas.SPLITS])
    store.transact(schemas.SPLITS, change, f"release {release}")


def by_content(given: pl.DataFrame) -> pl.DataFrame:
    """Return `content_hash` with the `split` of the frames of that content that were given one: one row each."""
    counted = given.drop_nulls("split").group_by("content_hash", "split").len()
    ordered = counted.sort("content_hash", "len", "split", descending=[False, True, False])
    return ordered.unique("content_hash", keep="first", maintain_order=True).select("content_hash", "split")
