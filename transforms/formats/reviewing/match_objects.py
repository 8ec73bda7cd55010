"""Review decisions from the objects of a returned frame: approved, corrected, rejected and added objects."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.core.identity import content_id
from transforms.formats.coco_rle import checked_runs
from transforms.formats.exports.objects import mask_of
from transforms.formats.reviewing.shapes import (
    Box,
    Returned,
    ReviewedShape,
    filled,
    follows,
    rings_of,
    same_box,
    same_rings,
    traced,
)
from transforms.models.detect.detections import annotation_ids

_OURS = re.compile(r"[0-9a-f]{32}")
_EDGES = ("bbox_x", "bbox_y", "bbox_w", "bbox_h")
_OUTSIDE_PX = 1.0
_DRAWN = "review"

Object = Mapping[str, Any]
"""A row with the columns of `annotations`."""


@dataclass(frozen=True)
class Known:
    """A frame, and the objects that models and people have recorded on it, by id.

    `shown`: the current objects of the models. `found`: all objects that models ever detected on it. `said`: those that
    people corrected or added. `elsewhere`: ids of objects on other frames.
    """

    stream_id: str
    frame_idx: int
    content_hash: str
    width: int
    height: int
    shown: Mapping[str, Object] = field(default_factory=dict)
    found: Mapping[str, Object] = field(default_factory=dict)
    said: Mapping[str, Object] = field(default_factory=dict)
    elsewhere: frozenset[str] = frozenset()

    def as_found(self, annotation_id: str) -> Object | None:
        """Return an object as a model detected it, before any correction; None if there is none."""
        return self.shown.get(annotation_id) or self.found.get(annotation_id)


def decide(
    frame: Known, returned: Returned, categories: frozenset[str], reviewer: str
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the objects of a frame with a `decision` each, and a message for each problem.

    An object that came back unchanged is approved, one that did not come back is rejected. A shape with the id of an
    object on another frame, or with an id that occurs twice, is a copy and becomes a new object.
    """
    problems = [f"{returned.place}, {text}" for text in _size_problems(frame, returned)]
    if problems:
        return [], problems
    decisions: list[dict[str, Any]] = []
    drawn: list[ReviewedShape] = []
    back: set[str] = set()
    for at, shape in enumerate(_nearest_first(frame, returned.shapes), 1):
        name = shape.annotation_id
        known = name is not None and (frame.as_found(name) is not None or name in frame.said)
        wrong = [*_shape_problems(shape, frame, categories)]
        if name is not None and not known and _OURS.fullmatch(name) and name not in frame.elsewhere:
            wrong.append(f"annotation {name}: the tables know no such object")
        problems += [f"{returned.place}, object {at}: {text}" for text in wrong]
        if wrong:
            continue
        if name is None or not known or name in back:
            drawn.append(shape)
            continue
        back.add(name)
        decisions.append(_of_known(name, shape, frame))
    decisions += _added(drawn, frame, reviewer)
    for name, each in frame.shown.items():
        if name not in back:
            decisions.append({**each, "decision": "reject", "note": None})
    return decisions, problems


def _size_problems(frame: Known, returned: Returned) -> Iterator[str]:
    if returned.size is not None and returned.size != (frame.width, frame.height):
        width, height = returned.size
        yield f"{returned.name}: it is {width}x{height} in the file, but {frame.width}x{frame.height} in the tables"


def _nearest_first(frame: Known, shapes: Sequence[ReviewedShape]) -> list[ReviewedShape]:
    """Return shapes, unchanged ones first, so that of several with one id the original keeps it."""

    def has_moved(shape: ReviewedShape) -> bool:
        base = frame.as_found(shape.annotation_id) if shape.annotation_id else None
        return base is None or not same_box(shape.box, _box_of(base))

    return sorted(shapes, key=has_moved)


def _shape_problems(shape: ReviewedShape, frame: Known, categories: frozenset[str]) -> Iterator[str]:
    if shape.category not in categories:
        known = ", ".join(sorted(categories)[:5])
        yield f"category {shape.category!r} is not known (there are {known}, …); let it in with --category"
    base = frame.as_found(shape.annotation_id) if shape.annotation_id else None
    if base is not None and _is_same(shape, base, frame):
        return
    if shape.mask_rle is not None:
        if not checked_runs(shape.mask_rle, frame.width, frame.height)[1::2].any():
            yield "expected a mask that covers something, found an empty one"
        return
    left, top, width, height = shape.box
    if not all(map(math.isfinite, shape.box)) or width <= 0 or height <= 0:
        yield f"expected a box with width and height above 0, found {width:g}x{height:g}"
        return
    right, bottom = left + width - frame.width, top + height - frame.height
    if max(-left, -top, right, bottom) > _OUTSIDE_PX:
        yield (
            f"the box {left:.0f}, {top:.0f}, {width:.0f}x{height:.0f} leaves the frame of {frame.width}x{frame.height}"
        )
    elif shape.rings and not _area(shape, frame, base or {}).any():
        yield "expected a polygon with pixels of the frame in it, found none"


def _of_known(name: str, shape: ReviewedShape, frame: Known) -> dict[str, Any]:
    base, before = frame.as_found(name), frame.said.get(name)
    if base is not None and _is_same(shape, base, frame):
        return {**base, "decision": "approve", "note": shape.note}
    if before is not None and _is_same(shape, before, frame):
        return {**before, "decision": before["decision"], "note": shape.note}
    origin = base or before or {}
    decision = "correct" if base is not None else "add"
    return {**origin, **_drawn(shape, frame, origin), "decision": decision, "annotation_id": name}


def _added(shapes: Sequence[ReviewedShape], frame: Known, reviewer: str) -> list[dict[str, Any]]:
    rows = [
        {
            "stream_id": frame.stream_id,
            "frame_idx": frame.frame_idx,
            "model": reviewer,
            "weights_hash": None,
            **_drawn(shape, frame, {}),
            "decision": "add",
        }
        for shape in shapes
    ]
    n = len(rows)
    ids = annotation_ids(
        _DRAWN,
        pa.array([frame.stream_id] * n, pa.string()),
        np.full(n, frame.frame_idx, np.int64),
        np.full(n, content_id(bytes.fromhex(frame.content_hash)), np.int64),
        pa.array([row["category"] for row in rows], pa.string()),
        np.array([[row[name] for name in _EDGES] for row in rows], np.float32).reshape(n, 4),
    )
    return [{**row, "annotation_id": name} for row, name in zip(rows, ids.to_pylist(), strict=True)]


def _drawn(shape: ReviewedShape, frame: Known, origin: Object) -> dict[str, Any]:
    """Return the columns of an object that a reviewer has drawn or redrawn."""
    box, mask = shape.box, shape.mask_rle
    if shape.rings:
        mask = _encoded(_area(shape, frame, origin))
    if mask is not None:
        box = _box_of_mask(mask, frame)
    left, top = max(0.0, box[0]), max(0.0, box[1])
    right, bottom = min(float(frame.width), box[0] + box[2]), min(float(frame.height), box[1] + box[3])
    return {
        "category": shape.category,
        "score": 1.0,
        **dict(zip(_EDGES, (left, top, right - left, bottom - top), strict=True)),
        "mask_rle": mask,
        "track_id": shape.track_id if shape.track_id is not None else origin.get("track_id"),
        "text": shape.text or origin.get("text"),
        "source": _DRAWN,
        "note": shape.note,
    }


def _area(shape: ReviewedShape, frame: Known, origin: Object) -> npt.NDArray[np.uint8]:
    """Return the pixels inside the polygons of a shape, shape (height, width), uint8, 0 or 1.

    An edited outline of `rings_of` still runs through pixel centres where it was not edited, so that it is traced.
    """
    size = (frame.width, frame.height)
    is_ours = origin.get("mask_rle") is not None and follows(shape.rings, rings_of(dict(origin), *size))
    return traced(shape.rings, *size) if is_ours else filled(shape.rings, *size)


def _is_same(shape: ReviewedShape, base: Object, frame: Known) -> bool:
    """Return whether a shape equals an object; a mask that a tool cannot represent comes back as its box."""
    if shape.category != base["category"]:
        return False
    if shape.mask_rle is not None or shape.rings:
        if base["mask_rle"] is None:
            return False
        if shape.rings and same_rings(shape.rings, rings_of(dict(base), frame.width, frame.height)):
            return True
        theirs = _area(shape, frame, base) if shape.rings else _decoded(shape.mask_rle, frame)
        return bool(np.array_equal(theirs, mask_of(dict(base), frame.width, frame.height)))
    return same_box(shape.box, _box_of(base))


def _box_of(base: Object) -> Box:
    return base["bbox_x"], base["bbox_y"], base["bbox_w"], base["bbox_h"]


def _encoded(mask: npt.NDArray[np.uint8]) -> str:
    from pycocotools import mask as masks

    return str(masks.encode(np.asfortranarray(mask))["counts"].decode())


def _decoded(mask_rle: str | None, frame: Known) -> npt.NDArray[np.uint8]:
    return mask_of({"mask_rle": mask_rle}, frame.width, frame.height)


def _box_of_mask(mask_rle: str, frame: Known) -> Box:
    from pycocotools import mask as masks

    box = masks.toBbox({"size": [frame.height, frame.width], "counts": mask_rle.encode()})
    left, top, width, height = (float(v) for v in box)
    return left, top, width, height
