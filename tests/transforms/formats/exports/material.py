"""Frames and objects for the tests of export formats."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa

import schemas
from transforms.formats.exports.objects import Objects

WIDTH, HEIGHT = 80, 60
CATEGORIES = ("person", "wild dog", "cat")


def frames(folder: str = "images/") -> pa.Table:
    """Return three frames of two streams, the second one without objects, in two splits."""
    names = ["train/a/f_1.jpg", "train/a/f_2.jpg", "val/b.c/f_7.png"]
    return pa.table(
        {
            "stream_id": ["a", "a", "b.c"],
            "frame_idx": [1, 2, 7],
            "content_hash": ["aa", "bb", "cc"],
            "file_name": [folder + name for name in names],
            "width": [WIDTH] * 3,
            "height": [HEIGHT] * 3,
            "split": ["train", "train", "val"],
        }
    )


def two_parts() -> npt.NDArray[np.uint8]:
    """Return a mask of two rectangles, 20x10 and 6x20 pixels, the second rotated by 45 degrees."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[5:15, 10:30] = 1
    corners = cv2.boxPoints(((55.0, 35.0), (6.0, 20.0), 45.0))
    cv2.fillPoly(mask, [np.rint(corners).astype(np.int32)], (1,))
    return mask


def rle(mask: npt.NDArray[np.uint8]) -> str:
    from pycocotools import mask as masks

    return str(masks.encode(np.asfortranarray(mask))["counts"].decode())


def annotation(
    at: int, stream: str, number: int, category: str, score: float, *box: float, **more: Any
) -> dict[str, Any]:
    empty = dict.fromkeys(("mask_rle", "track_id", "text", "weights_hash"))
    edges = dict(zip(("bbox_x", "bbox_y", "bbox_w", "bbox_h"), box, strict=True))
    who = {"annotation_id": f"{at:032x}", "stream_id": stream, "frame_idx": number, "source": "onnx", "model": "m"}
    return {**empty, **who, "category": category, "score": score, **edges, **more}


def written(folder: Path, files: Mapping[str, bytes], images: str = "images/") -> Path:
    """Write an export with black images."""
    for name in frames(images)["file_name"].to_pylist():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def objects(mask: npt.NDArray[np.uint8] | None = None) -> Objects:
    """Return three objects: two on the first frame, one that extends beyond the last frame on the right."""
    rows = [
        annotation(1, "a", 1, "person", 0.5, 10, 5, 20, 10),
        annotation(2, "a", 1, "cat", 0.75, 8.25, 4.5, 60, 50, mask_rle=None if mask is None else rle(mask)),
        annotation(3, "b.c", 7, "wild dog", 0.25, 60, 30, 40, 20, track_id=4),
    ]
    left_out = {"stage_key", "input_id"}
    schema = pa.schema([f for f in schemas.ANNOTATIONS.arrow_schema if f.name not in left_out])
    return Objects.on(frames(), pa.Table.from_pylist(rows, schema), CATEGORIES)


def with_columns(there: Objects, **values: Any) -> Objects:
    """Return objects with columns that people add, which the object of the highest score has and no other."""
    rows = there.rows.to_pylist()
    schema = pa.schema([*there.rows.schema, *(schemas.REVIEWS.arrow_schema.field(name) for name in values)])
    return Objects(pa.Table.from_pylist([rows[0] | values, *rows[1:]], schema), there.categories)
