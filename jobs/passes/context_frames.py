"""Context frames of models that use earlier frames: which are read before a frame, and input ids that cover them."""

from __future__ import annotations

import numpy as np
import polars as pl

from schemas import FRAME_KEY
from transforms.core.identity import Int64Array, mix, row_terms


def in_runs(frames: pl.DataFrame, steps: pl.DataFrame) -> pl.DataFrame:
    """Add `follows` to frames in order of stream and number: whether each comes right after the one before it.

    `steps` says for each stream up to which difference of number that is so.
    """
    apart = pl.col("frame_idx").diff().over("stream_id")
    known = frames.join(steps, on="stream_id", how="left", maintain_order="left")
    return known.with_columns(follows=(apart <= pl.col("step")).fill_null(False)).drop("step")


def window_ids(frames: pl.DataFrame, context: int) -> Int64Array:
    """Return an id for each of N frames and those before it that belong to it, shape (N,).

    These are up to `context` frames, and none from before a gap. `frames` has `frame_idx`, `input_id` and `follows`, in
    order; frames before the wanted ones make no difference to the ids.
    """
    place = np.arange(frames.height)
    terms = row_terms(frames["frame_idx"].to_numpy(), frames["input_id"].to_numpy())
    total = np.concatenate([np.zeros(1, np.uint64), np.cumsum(terms, dtype=np.uint64)])
    begun = np.maximum.accumulate(np.where(frames["follows"].to_numpy(), 0, place))
    start = np.maximum(begun, place - context)
    return mix((total[place + 1] - total[start]) ^ mix(terms)).view(np.int64)


def with_those_before(frames: pl.DataFrame, wanted: pl.DataFrame, context: int) -> pl.DataFrame:
    """Return the wanted frames and all frames up to `context` places before one of them in its stream, in order."""
    marked = frames.join(
        wanted.select(*FRAME_KEY, "replaces", "wanted"), on=FRAME_KEY, how="left", maintain_order="left"
    )
    place = pl.int_range(pl.len())
    next_wanted = pl.when("wanted").then(place).backward_fill().over("stream_id")
    near = marked.with_columns(ahead=next_wanted - place.over("stream_id")).filter(pl.col("ahead") <= context)
    return near.with_columns(pl.col("replaces").fill_null(False), pl.col("wanted").fill_null(False))
