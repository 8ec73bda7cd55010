"""The table `splits`: splits that exports of a release have assigned, which later exports keep."""

from __future__ import annotations

import time
from collections.abc import Sequence

import polars as pl

import schemas
from jobs.core.errors import UserError
from jobs.storage.data_files import write_part
from jobs.storage.store import Change, Snapshot, Store
from jobs.views.view import View

_IMAGE_KEY = [*schemas.FRAME_KEY, "content_hash"]


def given_splits(store: Store, seed: int) -> pl.DataFrame:
    """Return the recorded splits of frames under a seed: key, `content_hash`, `split`, `left_out` and `release`."""
    rows = store.open(schemas.SPLITS).lazy().filter(pl.col("seed") == seed)
    return rows.select(*_IMAGE_KEY, "split", "left_out", "release").collect()


def record(store: Store, release: str, seed: int, frames: pl.DataFrame) -> None:
    """Record the frames that have got a split, or were left out; recorded ones do not change.

    `frames` has the key, `content_hash`, `split`, `left_out` and `split_by`. Raises `UserError` if another export has
    given one of them another split meanwhile.
    """

    def change(_: Snapshot) -> Change | None:
        known = given_splits(store, seed)
        both = frames.join(known, on=_IMAGE_KEY, suffix="_given")
        if (other := both.filter(pl.col("split").ne_missing(pl.col("split_given")))).height:
            raise UserError(
                f"another export has given splits to {other.height:,} of these frames meanwhile; export once more"
            )
        fresh = frames.join(known, on=_IMAGE_KEY, how="anti")
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
    """Return `content_hash` with the `split` of recorded frames of that content: one row each."""
    counted = given.drop_nulls("split").group_by("content_hash", "split").len()
    ordered = counted.sort("content_hash", "len", "split", descending=[False, True, False])
    return ordered.unique("content_hash", keep="first", maintain_order=True).select("content_hash", "split")


def groups_given_elsewhere(
    view: View, frames: pl.DataFrame, given: pl.DataFrame, splits: Sequence[str]
) -> pl.DataFrame:
    """Return `group_id` and `split` of frames recorded in `splits` that are not in an export, as when no longer kept.

    Earlier releases have them, so that their duplicates belong on their side.
    """
    there = (
        view.lazy("curated").filter(pl.col("status") == "ok").select(*_IMAGE_KEY, pl.col("group_id").cast(pl.String))
    )
    absent = there.drop_nulls("group_id").collect().join(frames, on=schemas.FRAME_KEY, how="anti")
    named = given.filter(pl.col("split").is_in(list(splits)))
    return absent.join(named, on=_IMAGE_KEY).select("group_id", "split")


def frames_given_elsewhere(
    view: View, frames: pl.DataFrame, given: pl.DataFrame, splits: Sequence[str]
) -> pl.DataFrame:
    """Return recorded frames of the streams of an export that are not in it, and still show what was recorded.

    They have the columns of `frames`, which are the key, `content_hash`, `group_id`, `time_ns` and `elsewhere`, true.
    """
    streams = frames["stream_id"].unique().to_list()
    named = given.filter(pl.col("split").is_in(list(splits)), pl.col("stream_id").is_in(streams))
    absent = named.select(_IMAGE_KEY).join(frames, on=schemas.FRAME_KEY, how="anti")
    there = view.lazy("curated").filter(pl.col("status") == "ok")
    columns = [*_IMAGE_KEY, pl.col("group_id").cast(pl.String), "time_ns"]
    found = there.select(columns).join(absent.lazy(), on=_IMAGE_KEY, how="semi").sort(schemas.FRAME_KEY).collect()
    return found.with_columns(elsewhere=pl.lit(True))
