"""Objects on the frames of an export, with stable label numbers, and their geometry: boxes, masks, outlines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.formats.outlines import Mask, Outlines, Points, outlines, turned_corners

_KEY = ["stream_id", "frame_idx"]


@dataclass(frozen=True)
class Objects:
    """The objects on the frames of an export.

    `rows`: one row of the view `objects` per object, with the added columns `row` (position of the frame in the export)
    and `label` (position in `categories`), in order of the frames, the highest score first. `categories`: all possible
    categories, in an order that does not depend on what is exported.
    """

    rows: pa.Table
    categories: tuple[str, ...]

    @classmethod
    def none(cls) -> Objects:
        """Return no objects and no categories, for frames that are not annotated."""
        return cls(pa.table({"row": pa.array([], pa.int64())}), ())

    @classmethod
    def on(cls, frames: pa.Table, annotations: pa.Table, categories: Sequence[str]) -> Objects:
        """Return the annotations of these frames. All of their categories must be among those given."""
        numbered = pl.DataFrame(frames.select(_KEY)).with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))
        labels = pl.DataFrame({"category": list(categories), "label": range(len(categories))})
        labels = labels.cast({"category": pl.String, "label": pl.Int64})
        joined = pl.DataFrame(annotations).join(numbered, on=_KEY).join(labels, on="category")
        ordered = joined.sort("row", "score", "annotation_id", descending=[False, True, False])
        return cls(ordered.to_arrow(), tuple(categories))

    @cached_property
    def by_row(self) -> dict[int, list[dict[str, Any]]]:
        """Return the objects of each frame that has any, by the frame's position in the export."""
        found: dict[int, list[dict[str, Any]]] = {}
        for each in self.rows.to_pylist():
            found.setdefault(each["row"], []).append(each)
        return found

    def of(self, row: int) -> list[dict[str, Any]]:
        """Return the objects of the frame at this position in the export."""
        return self.by_row.get(row, [])


def vocabulary(models: Iterable[Sequence[str]], seen: Iterable[str]) -> tuple[str, ...]:
    """Return categories that have no numbers yet, in the order in which they are to be numbered.

    First those of the models' own lists, the longest list first and each list in its order; then other categories in
    `seen`, by name. The order does not depend on what is exported.
    """
    lists = sorted({tuple(names) for names in models}, key=lambda names: (-len(names), names))
    order = dict.fromkeys(name for names in lists for name in names)
    return tuple(order | dict.fromkeys(sorted(set(seen) - set(order))))


def box_of(each: Mapping[str, Any]) -> tuple[float, float, float, float]:
    """Return left, top, width and height of an object's box in pixels, before it is turned."""
    return each["bbox_x"], each["bbox_y"], each["bbox_w"], each["bbox_h"]


def corners_of(each: Mapping[str, Any]) -> Points:
    """Return the corners of an object's box in pixels, clockwise from the upper left, shape (4, 2), float64."""
    return turned_corners(box_of(each), each.get("rotation") or 0.0)


def upright_box(each: Mapping[str, Any]) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom edge of an object's box in pixels; around it where it is turned."""
    if each.get("rotation"):
        points = corners_of(each)
        (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
        return left, top, right, bottom
    left, top, width, height = box_of(each)
    return left, top, left + width, top + height


def clipped_box(each: Mapping[str, Any], width: int, height: int) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom edge of an object's upright box in pixels, clipped to the frame."""
    left, top, right, bottom = upright_box(each)
    return max(0.0, left), max(0.0, top), min(float(width), right), min(float(height), bottom)


def run_lengths(each: Mapping[str, Any], width: int, height: int) -> dict[str, Any]:
    """Return an object's mask as a COCO RLE dictionary."""
    return {"size": [height, width], "counts": each["mask_rle"]}


def mask_of(each: Mapping[str, Any], width: int, height: int) -> Mask:
    """Return an object's mask, shape (height, width), uint8, 0 or 1."""
    from pycocotools import mask as masks

    encoded = run_lengths(each, width, height)
    return np.ascontiguousarray(masks.decode(encoded | {"counts": encoded["counts"].encode()}))


def polygons_of(each: Mapping[str, Any]) -> tuple[Points, ...]:
    """Return the polygons that a person has drawn of an object, each of shape (N, 2); () for none."""
    return tuple(np.asarray(ring, np.float64).reshape(-1, 2) for ring in each.get("polygons") or ())


def outlines_of(each: Mapping[str, Any], width: int, height: int) -> Outlines:
    """Return the outlines of an object's mask, or the polygons that a person has drawn of it; none without a mask."""
    if drawn := polygons_of(each):
        return Outlines(drawn, ())
    if each["mask_rle"] is None:
        return Outlines((), ())
    return outlines(mask_of(each, width, height))


def attributes_of(each: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes that a tool has given to an object."""
    return dict(json.loads(each.get("attributes") or "{}"))
