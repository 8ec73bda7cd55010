"""Frames with the objects that were found on them, or with regions that are to be read, as prompts for models."""

from __future__ import annotations

import numpy as np
import polars as pl

from schemas import FRAME_KEY
from transforms.core.identity import hash_strings, mix

_EDGES = {"x": "bbox_x", "y": "bbox_y", "w": "bbox_w", "h": "bbox_h"}
OBJECT_COLUMNS = ("annotation_id", *FRAME_KEY, "category", "score", *_EDGES.values())
"""What has to be known of objects."""


_CORNERS = tuple(f"{axis}{number}" for number in range(1, 5) for axis in "xy")
REGION_COLUMNS = ("region_id", *FRAME_KEY, "kind", "is_read", *_CORNERS)
"""What has to be known of regions."""


def with_objects(frames: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """Return the frames that have objects, in their order, with `objects`, and `window_id` for both together.

    An object's id is made of its place and of its image, so that the ids of a frame's objects identify the prompt.
    """
    each = pl.struct("annotation_id", "category", "score", *(pl.col(edge).alias(name) for name, edge in _EDGES.items()))
    return _with(frames, found, "annotation_id", "objects", each)


def with_regions(frames: pl.DataFrame, found: pl.DataFrame, only_lines: bool) -> pl.DataFrame:
    """Return the frames that have regions to be read or compared, with `regions`, and `window_id` for both together.

    A region's id does not say where it is, so that its corners are part of what identifies the prompt.
    """
    corners = pl.concat_list(_CORNERS)
    name = pl.format("{}:{}", "region_id", corners.list.eval(pl.element().cast(pl.String)).list.join(","))
    read = found.filter(pl.col("is_read") & ((pl.col("kind") == "line") | (not only_lines))).with_columns(prompt=name)
    return _with(frames, read, "prompt", "regions", pl.struct("region_id", "kind", corners.alias("corners")))


def _with(frames: pl.DataFrame, found: pl.DataFrame, name: str, column: str, each: pl.Expr) -> pl.DataFrame:
    ordered = found.sort(*FRAME_KEY, name)
    terms = hash_strings(ordered[name].to_arrow().cast("string"))
    known = ordered.with_columns(term=pl.Series(mix(terms)))
    listed = known.group_by(FRAME_KEY, maintain_order=True).agg(each.alias(column), terms="term")
    both = frames.join(listed, on=FRAME_KEY, how="inner", maintain_order="left")
    sums = np.array([np.add.reduce(some.to_numpy()) for some in both["terms"]], np.uint64)
    ids = mix(mix(both["input_id"].to_numpy().view(np.uint64)) + sums).view(np.int64)
    return both.drop("terms").with_columns(window_id=pl.Series(ids, dtype=pl.Int64))
