"""Review decisions from the objects of a returned frame: approved, corrected, rejected and added objects."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from transforms.core.identity import content_id
from transforms.formats.coco_rle import checked_runs
from transforms.formats.outlines import encoded
from transforms.formats.reviewing.known_frames import (
    Known,
    Object,
    area_of,
    box_of_mask,
    crowd_of,
    has_same_geometry,
    is_same,
    merged_attributes,
    settled,
)
from transforms.formats.reviewing.shape_identity import identified
from transforms.formats.reviewing.shapes import RELATIONS, Returned, ReviewedShape
from transforms.models.detect.detections import annotation_ids

_OURS = re.compile(r"[0-9a-f]{32}")
_EDGES = ("bbox_x", "bbox_y", "bbox_w", "bbox_h")
_GEOMETRY = (*_EDGES, "mask_rle", "polygons", "rotation")
_COMPARED = (*_GEOMETRY, "category", "track_id", "text", "is_crowd", "attributes")
_OUTSIDE_PX = 1.0
_DRAWN = "review"


@dataclass(frozen=True)
class Decided:
    """The objects of a frame with a `decision` each, and a message for each problem.

    `is_changed`: whether anything differs from what is on the frame now. A decision has the tool's track as `track`.
    `tags`: those of the frame as a whole.
    """

    decisions: list[dict[str, Any]]
    problems: list[str]
    is_changed: bool = False
    tags: tuple[Any, ...] = ()


def decide(frame: Known, returned: Returned, reviewer: str, source: str = _DRAWN) -> Decided:
    """Return what a reviewer has decided about a frame.

    An object that came back unchanged is approved, one that did not come back is rejected. What another person drew or
    corrected is approved where it came back unchanged, and stays that person's work. `source`: that of new objects.
    """
    problems = [f"{returned.place}, {text}" for text in _size_problems(frame, returned)]
    if problems:
        return Decided([], problems)
    sound = []
    names = identified(frame, returned.shapes)
    for given, name in zip(returned.shapes, names, strict=True):
        shape = settled(given, frame.versions.get(name, ()) if name else ())
        wrong = [*_shape_problems(shape, name, frame)]
        problems += [f"{returned.place}, {shape.place}: {text}" for text in wrong]
        if not wrong:
            sound.append((shape, name))
    fresh = [shape for shape, name in sound if name is None]
    new_names = iter(_new_ids(fresh, frame, source))
    whole = [(shape, name, name or next(new_names)) for shape, name in sound]
    by_tool = {shape.annotation_id: final for shape, _, final in whole if shape.annotation_id}
    decisions = []
    for shape, name, final in whole:
        related = _with_relations(shape, by_tool)
        if name is not None:
            decision = _of_known(name, related, frame, reviewer)
        else:
            decision = _added(final, related, frame, reviewer) | {"source": source}
        decisions.append({**decision, "track": shape.track})
    back = {name for _, name in sound if name}
    rejected = [each for name, each in frame.shown.items() if name not in back]
    tags = frame.tags if returned.tags is None else returned.tags
    is_changed = bool(returned.note) or tags != frame.tags or _differ(decisions, frame)
    decisions += [{**each, "decision": "reject", "note": None, "track": None} for each in rejected]
    return Decided(decisions, problems, is_changed, tags)


def _differ(decisions: Sequence[Mapping[str, Any]], frame: Known) -> bool:
    def content(each: Object) -> list[Any]:
        return [each.get(name) for name in _COMPARED]

    now = {each["annotation_id"]: content(each) for each in decisions}
    return any(each.get("note") for each in decisions) or now != {n: content(o) for n, o in frame.standing.items()}


def _with_relations(shape: ReviewedShape, names: Mapping[str, str]) -> ReviewedShape:
    """Return a shape whose relations have ids of ours."""
    if not (relations := shape.attributes.get(RELATIONS)):
        return shape
    ours = [{**each, "to": names.get(each["to"], each["to"])} for each in relations]
    return replace(shape, attributes={**shape.attributes, RELATIONS: ours})


def _size_problems(frame: Known, returned: Returned) -> Iterator[str]:
    if returned.size is not None and returned.size != (frame.width, frame.height):
        width, height = returned.size
        yield f"{returned.name}: it is {width}x{height} in the file, but {frame.width}x{frame.height} in the tables"


def _shape_problems(shape: ReviewedShape, name: str | None, frame: Known) -> Iterator[str]:
    kept = shape.annotation_id
    if kept is not None and kept not in frame.versions and _OURS.fullmatch(kept) and kept not in frame.elsewhere:
        yield f"annotation {kept}: the tables know no such object"
    if name is not None and any(is_same(shape, base, frame) for base in frame.versions[name]):
        return
    if shape.mask_rle is not None:
        if not checked_runs(shape.mask_rle, frame.width, frame.height)[1::2].any():
            yield "expected a mask that covers something, found an empty one"
        return
    left, top, width, height = shape.box
    if not all(map(math.isfinite, shape.box)):
        yield f"expected a box with finite numbers, found {left:g}, {top:g}, {width:g}x{height:g}"
        return
    if width <= 0 or height <= 0:
        yield f"expected a box with width and height above 0, found {width:g}x{height:g}"
        return
    where = f"the box {left:.0f}, {top:.0f}, {width:.0f}x{height:.0f}"
    if shape.rotation:
        if not (0 <= left + width / 2 <= frame.width and 0 <= top + height / 2 <= frame.height):
            yield f"{where} has its centre outside of the frame of {frame.width}x{frame.height}"
        return
    right, bottom = left + width - frame.width, top + height - frame.height
    if max(-left, -top, right, bottom) > _OUTSIDE_PX:
        yield f"{where} leaves the frame of {frame.width}x{frame.height}"
    elif shape.rings and not area_of(shape, frame).any():
        yield "expected a polygon with pixels of the frame in it, found none"


def _of_known(name: str, shape: ReviewedShape, frame: Known, reviewer: str) -> dict[str, Any]:
    base, before = frame.as_found(name), frame.said.get(name)
    if before is not None and is_same(shape, before, frame):
        first = before.get("author") or before.get("reviewer")
        is_own = before.get("reviewer") in {None, reviewer}
        decision = before["decision"] if is_own else "approve"
        return {**before, "decision": decision, "author": first, "note": shape.note}
    if base is not None and is_same(shape, base, frame):
        return {**base, "decision": "approve", "note": shape.note}
    origin = before or base or {}
    decision = "correct" if base is not None else "add"
    drawn = _drawn(shape, frame, [each for each in (before, base) if each is not None])
    return {**origin, **drawn, "decision": decision, "annotation_id": name, "author": reviewer}


def _added(name: str, shape: ReviewedShape, frame: Known, reviewer: str) -> dict[str, Any]:
    return {
        "stream_id": frame.stream_id,
        "frame_idx": frame.frame_idx,
        "annotation_id": name,
        "model": reviewer,
        "weights_hash": None,
        **_drawn(shape, frame, []),
        "decision": "add",
        "author": reviewer,
    }


def _new_ids(shapes: Sequence[ReviewedShape], frame: Known, source: str) -> list[str]:
    """Return the ids of objects that were drawn: the same ones whenever the same is imported."""
    if not (n := len(shapes)):
        return []
    boxes = [[_geometry(shape, frame)[name] for name in _EDGES] for shape in shapes]
    ids = annotation_ids(
        source,
        pa.array([frame.stream_id] * n, pa.string()),
        np.full(n, frame.frame_idx, np.int64),
        np.full(n, content_id(bytes.fromhex(frame.content_hash)), np.int64),
        pa.array([shape.category for shape in shapes], pa.string()),
        np.array(boxes, np.float32).reshape(n, 4),
    )
    return [str(name) for name in ids.to_pylist()]


def _drawn(shape: ReviewedShape, frame: Known, versions: Sequence[Object]) -> dict[str, Any]:
    """Return the columns of an object that a reviewer has drawn or changed; `versions` are what it was before.

    Where only other things were changed, its area stays as it was, to the last bit.
    """
    origin = versions[0] if versions else {}
    kept = next((each for each in versions if has_same_geometry(shape, each, frame)), None)
    geometry = _geometry(shape, frame) if kept is None else {name: kept.get(name) for name in _GEOMETRY}
    attributes = merged_attributes(shape, origin)
    return {
        "category": shape.category,
        "score": 1.0,
        **geometry,
        "track_id": shape.track_id if shape.track_id is not None else origin.get("track_id"),
        "text": shape.text or origin.get("text"),
        "is_crowd": crowd_of(shape, origin) or None,
        "attributes": json.dumps(attributes, sort_keys=True, ensure_ascii=False) if attributes else None,
        "source": _DRAWN,
        "note": shape.note,
    }


def _geometry(shape: ReviewedShape, frame: Known) -> dict[str, Any]:
    box, mask = shape.box, shape.mask_rle
    polygons = [[value for point in ring for value in point] for ring in shape.rings] or None
    if shape.rings:
        mask = encoded(area_of(shape, frame))
    if mask is not None:
        box = box_of_mask(mask, frame)
    turn = shape.rotation % 360 if mask is None else 0.0
    left, top, right, bottom = box[0], box[1], box[0] + box[2], box[1] + box[3]
    if not turn:
        left, top = max(0.0, left), max(0.0, top)
        right, bottom = min(float(frame.width), right), min(float(frame.height), bottom)
    edges = dict(zip(_EDGES, (left, top, right - left, bottom - top), strict=True))
    return {**edges, "mask_rle": mask, "polygons": polygons, "rotation": turn or None}
