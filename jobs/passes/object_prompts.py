"""Frames with the objects that were found on them, as prompts for models."""

from __future__ import annotations

import numpy as np
import polars as pl

from schemas import FRAME_KEY
from transforms.core.identity import hash_strings, mix

_EDGES = {"x": "bbox_x", "y": "bbox_y", "w": "bbox_w", "h": "bbox_h"}
OBJECT_COLUMNS = ("annotation_id", *FRAME_KEY, "category", "score", *_EDGES.values())
"""What has to be known of objects."""


def with_objects(frames: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """Return the frames that have objects, in their order, with `objects`, and `window_id` for both together.

    An object's id is made of its place and of its image, so that the ids of a frame's objects identify the prompt.
    """
    ordered = found.sort(*FRAME_KEY, "annotation_id")
    terms = hash_strings(ordered["annotation_id"].to_arrow().cast("string"))
    known = ordered.with_columns(term=pl.Series(mix(terms)))
    each = pl.struct("annotation_id", "category", "score", *(pl.col(edge).alias(name) for name, edge in _EDGES.items()))
    listed = known.group_by(FRAME_KEY, maintain_order=True).agg(objects=each, terms="term")
    both = frames.join(listed, on=FRAME_KEY, how="inner", maintain_order="left")
    sums = np.array([np.add.reduce(some.to_numpy()) for some in both["terms"]], np.uint64)
    ids = mix(mix(both["input_id"].to_numpy().view(np.uint64)) + sums).view(np.int64)
    return both.drop("terms").with_columns(window_id=pl.Series(ids, dtype=pl.Int64))
