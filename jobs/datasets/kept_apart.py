"""Distance between splits: frames near a border, and frames of a track that is in another split, are left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from jobs.views import final_objects
from jobs.views.view import View
from schemas import FRAME_KEY
from transforms.curate.time_blocks import left_out_at_borders
from transforms.curate.track_blocks import tracks_to_cut


def kept_apart(
    view: View, frames: pl.DataFrame, fractions: Mapping[str, float]
) -> tuple[pl.DataFrame, tuple[Mapping[str, Any], ...]]:
    """Leave out frames near a border between splits, and those that share a track; also return tracks in several.

    Tracks no longer than a block are in one split in any case, longer ones as far as enough frames are kept. `frames`
    has the key, `position`, `guard`, `block_length`, `split`, `left_out`, `given` (frames that stay) and `elsewhere`:
    frames that an earlier release has given, and this export does not have. They stay, too, and are not reported.
    """
    there = frames.with_row_index("at").drop_nulls("split").with_columns(pl.col("at").cast(pl.Int64))
    if not there["guard"].count():
        return frames, ()
    tracks = _tracks_in_blocks(view, there)
    rows = there.select("stream_id", "position", "guard", "split", "given")
    cut = tracks_to_cut(rows, tracks.filter(~pl.col("is_short")), fractions)
    wanted = tracks.filter(pl.col("is_short") | pl.col("track").is_in(cut))
    near, shared = left_out_at_borders(rows, wanted.select("row", "track"), fractions)
    at = pl.int_range(pl.len(), dtype=pl.Int64)
    frames = left_out(frames, at.is_in(there.filter(near)["at"].to_list()), "near_border")
    frames = left_out(frames, at.is_in(there.filter(shared)["at"].to_list()), "shared_track")
    kept = tracks.join(there.filter(~near & ~shared, ~pl.col("elsewhere")).select("at"), on="at")
    both = kept.group_by("stream_id", "track_id").agg(frames=pl.len(), splits=pl.col("split").n_unique())
    crossing = both.filter(pl.col("splits") > 1).drop("splits")
    return frames, tuple(crossing.sort("frames", "stream_id", "track_id", descending=[True, False, False]).to_dicts())


def _tracks_in_blocks(view: View, there: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of frames of streams divided by time with each track on them, by position in `there` as `row`.

    `track` is the track's name, `is_short` whether it lasts no longer than a block.
    """
    objects = view.lazy(final_objects.NAME).drop_nulls("track_id").select(*FRAME_KEY, "track_id").unique().collect()
    on_frames = there.with_row_index("row").drop_nulls("block_length")
    seen = objects.join(on_frames.select("row", "at", *FRAME_KEY, "position", "block_length", "split"), on=FRAME_KEY)
    lasts = (pl.col("position").max() - pl.col("position").min()).over("stream_id", "track_id")
    track = pl.concat_str("stream_id", pl.lit(" "), pl.col("track_id").cast(pl.String))
    return seen.with_columns(pl.col("row").cast(pl.Int64), track=track, is_short=lasts <= pl.col("block_length"))


def left_out(frames: pl.DataFrame, which: pl.Expr, reason: str) -> pl.DataFrame:
    """Take frames out of their split, for a reason that the column `left_out` gets."""
    fresh = which & pl.col("split").is_not_null()
    return frames.with_columns(
        left_out=pl.when(fresh).then(pl.lit(reason)).otherwise("left_out"),
        split=pl.when(~fresh).then("split"),
    )
