"""Ultralytics YOLO export, a text file per image and `data.yaml`: https://docs.ultralytics.com/datasets/."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from transforms.formats.exports.objects import Objects, clipped_box, corners_of, mask_of, outlines_of, polygons_of
from transforms.formats.outlines import Points, filled, outlines, smallest_turned_box

Task = Literal["detect", "segment", "obb"]

IMAGES = "images/"
_DIGITS = 6
_LEAST_PX = 0.5
_NO_NAME = "object"


def yolo_files(task: Task) -> Callable[[pa.Table, Sequence[str], Objects | None], dict[str, bytes]]:
    """Return the format for a task: boxes, outlines of masks, or rotated boxes around masks.

    Coordinates are relative to the image's width and height, 0..1. An object without a mask has its box as outline, and
    holes of masks are filled. Images without objects have an empty file, as negatives. Images are expected below
    `images/`, their label files below `labels/`. Crowds, and objects less than half a pixel wide or high, are skipped.
    """

    def files(rows: pa.Table, splits: Sequence[str], objects: Objects | None = None) -> dict[str, bytes]:
        there = objects or Objects.none()
        named = {}
        columns = [rows[n].to_pylist() for n in ("file_name", "width", "height")]
        for row, (name, width, height) in enumerate(zip(*columns, strict=True)):
            lines = [_line(each, width, height, task) for each in there.of(row)]
            text = "".join(f"{line}\n" for line in lines if line)
            path = PurePosixPath("labels", PurePosixPath(name).relative_to(IMAGES)).with_suffix(".txt")
            named[str(path)] = text.encode()
        return named | {"data.yaml": _description(splits, there.categories)}

    return files


def holds(each: Mapping[str, Any], width: int, height: int) -> bool:
    """Return whether an object has a line: no crowd, which Ultralytics knows nothing of, and not too thin."""
    left, top, right, bottom = clipped_box(each, width, height)
    return not each.get("is_crowd") and right - left >= _LEAST_PX and bottom - top >= _LEAST_PX


def _line(each: dict[str, Any], width: int, height: int, task: Task) -> str:
    if not holds(each, width, height):
        return ""
    if task == "detect":
        left, top, right, bottom = clipped_box(each, width, height)
        (x, across), (y, down) = _span(left, right, width), _span(top, bottom, height)
        return f"{each['label']} {x} {y} {across} {down}"
    if task == "obb":
        points = corners_in_obb(each, width, height)
    elif not len(points := _outline(each, width, height)):
        points = corners_of(each)
    shares = np.clip(points / [width, height], 0, 1).reshape(-1).tolist()
    return " ".join([str(each["label"]), *(f"{share:.{_DIGITS}f}" for share in shares)])


def corners_in_obb(each: Mapping[str, Any], width: int, height: int) -> Points:
    """Return the corners of an object's turned box, or of the smallest one around its mask, shape (4, 2)."""
    if each.get("rotation") or each["mask_rle"] is None:
        return corners_of(each)
    return smallest_turned_box(_outline(each, width, height))


def _outline(each: Mapping[str, Any], width: int, height: int) -> Points:
    """Return the outline of an object as one polygon, shape (N, 2); of shape (0, 2) without a mask."""
    found = outlines_of(each, width, height)
    drawn = found.joined
    if len(found.parts) > 1 and polygons_of(each):
        # Of polygons that overlap, one polygon would not have the area that both have.
        area = mask_of(each, width, height)
        if not np.array_equal(filled([drawn], width, height), area):
            return outlines(area).joined
    return drawn


def _span(low: float, high: float, size: int) -> tuple[str, str]:
    """Return centre and length as shares of a size. Both ends are whole millionths, so that they stay inside 0..1."""
    first, end = (round(edge / size * 10**_DIGITS) for edge in (low, high))
    # Half of a millionth is what the seventh digit is for.
    return f"{(first + end) / 2 / 10**_DIGITS:.{_DIGITS + 1}f}", f"{(end - first) / 10**_DIGITS:.{_DIGITS}f}"


def _description(splits: Sequence[str], names: Sequence[str]) -> bytes:
    """Return `data.yaml`, with paths relative to the file, so that the folder can be moved.

    Ultralytics requires `train` and `val`, with images in each; a split that is not there is replaced by another one.
    It requires a name as well: where no category is known, a placeholder is named, which a comment states.
    """
    train = "train" if "train" in splits else splits[0]
    val = next((name for name in ("val", "test") if name in splits), splits[-1])
    places = {"train": train, "val": val} | {name: name for name in splits if name not in {"train", "val"}}
    lines = [] if names else ["# no category is known: nothing was annotated"]
    lines += [f"{name}: {json.dumps(IMAGES + place)}" for name, place in places.items()]
    lines += [
        "names:",
        *(f"  {at}: {json.dumps(name, ensure_ascii=False)}" for at, name in enumerate(names or [_NO_NAME])),
    ]
    return ("\n".join(lines) + "\n").encode()
