"""Objects on the frames of an export, with stable label numbers, and their geometry: boxes, masks, outlines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

_KEY = ["stream_id", "frame_idx"]
_CORNERS = 4


@dataclass(frozen=True)
class Objects:
    """The objects on the frames of an export.

    `rows`: one row of `annotations` per object, with the added columns `row` (position of the frame in the export) and
    `label` (position in `categories`), in order of the frames, the highest score first. `categories`: all possible
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


def clipped_box(each: dict[str, Any], width: int, height: int) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom edge of an object's box in pixels, clipped to the frame."""
    left, top = each["bbox_x"], each["bbox_y"]
    right, bottom = left + each["bbox_w"], top + each["bbox_h"]
    return max(0.0, left), max(0.0, top), min(float(width), right), min(float(height), bottom)


def run_lengths(each: dict[str, Any], width: int, height: int) -> dict[str, Any]:
    """Return an object's mask as a COCO RLE dictionary."""
    return {"size": [height, width], "counts": each["mask_rle"]}


def mask_of(each: dict[str, Any], width: int, height: int) -> npt.NDArray[np.uint8]:
    """Return an object's mask, shape (height, width), uint8, 0 or 1."""
    from pycocotools import mask as masks

    encoded = run_lengths(each, width, height)
    return np.ascontiguousarray(masks.decode(encoded | {"counts": encoded["counts"].encode()}))


def outline(mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Return the outlines of a mask's parts as one polygon, x and y in pixels, shape (N, 2), float64; empty for none.

    Parts are joined by lines of no width, there and back, which an even-odd fill ignores; holes are filled.
    """
    # OpenCV traces contours through pixel centres, which have half-integer coordinates here.
    parts, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    rings = [part.reshape(-1, 2).astype(np.float64) + 0.5 for part in parts if len(part) >= 3]
    if not rings:
        return np.empty((0, 2))
    closed = [np.concatenate([ring, ring[:1]]) for ring in rings]
    back = [ring[:1] for ring in rings[-2::-1]]
    return np.concatenate([*closed, *back]) if len(rings) > 1 else rings[0]


def corners_of(edges: tuple[float, float, float, float]) -> npt.NDArray[np.float64]:
    """Return the four corners of a box, clockwise from the upper left, x and y, shape (4, 2), float64."""
    left, top, right, bottom = edges
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64)


def turned_box(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the corners of the smallest rotated box around N points, shape (4, 2), float64."""
    return np.asarray(cv2.boxPoints(cv2.minAreaRect(points.astype(np.float32))), np.float64).reshape(_CORNERS, 2)
