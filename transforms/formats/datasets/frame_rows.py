"""Winnow's own lists of frames, read: rows of exports in `jsonl`, `parquet` and `webdataset`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from transforms.formats.coco_rle import checked_ring, checked_runs, shortened
from transforms.formats.reviewing.shapes import Box, Returned, ReviewedShape, ReviewFile, Ring, explained

OBJECTS = ("annotations", "objects")
"""What the list of a frame's objects is called: in rows, and in documents of WebDataset."""

_EDGES = ("bbox_x", "bbox_y", "bbox_w", "bbox_h")


class _Object(BaseModel):
    model_config = ConfigDict(extra="ignore")

    category: str
    annotation_id: str | None = None
    score: float | None = None
    bbox: tuple[float, float, float, float]
    mask_rle: str | None = None
    track_id: int | None = None
    text: str | None = None
    rotation: float | None = None
    polygons: list[list[float]] | None = None
    is_crowd: bool | None = None
    attributes: str | None = None


class _Frame(BaseModel):
    model_config = ConfigDict(extra="ignore")

    stream_id: str
    frame_idx: int
    content_hash: str | None = None
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    file_name: str | None = None
    uri: str | None = None
    objects: list[_Object]


def read_frame_rows(rows: Iterable[tuple[str, Any]]) -> ReviewFile:
    """Return a frame for each row, which is given with its place; frames are known by their `content_hash`.

    A row has `stream_id`, `frame_idx`, `width`, `height`, and a list of objects, as `annotations` with the columns of
    that table, or as `objects` with `bbox`: left, top, width and height in pixels.
    """
    file = ReviewFile()
    for place, row in rows:
        if not isinstance(row, Mapping) or not (name := next((n for n in OBJECTS if n in row), "")):
            file.problems.append(
                f"{place}: expected a frame with its objects, as `annotations`; found none: export frames that were "
                "annotated"
            )
            continue
        objects = row[name] if row[name] is not None else []
        plain = [_with_box(each) for each in objects] if isinstance(objects, list) else objects
        try:
            frame = _Frame.model_validate({**row, "objects": plain})
        except ValidationError as error:
            file.problems += explained(error, [f"{place}:"])
            continue
        shapes = []
        for number, each in enumerate(frame.objects, 1):
            try:
                shapes.append(_shape(each, frame, f"object {number}"))
            except ValueError as error:
                file.problems.append(f"{place}, object {number}: {error}")
        image = frame.file_name or frame.uri or f"{frame.stream_id}/{frame.frame_idx}"
        size = (frame.width, frame.height)
        file.frames.append(Returned(place, image, tuple(shapes), size, content_hash=frame.content_hash))
    return file


def _with_box(each: Any) -> Any:
    if isinstance(each, Mapping) and "bbox" not in each and all(name in each for name in _EDGES):
        return {**each, "bbox": [each[name] for name in _EDGES]}
    return each


def _shape(each: _Object, frame: _Frame, place: str) -> ReviewedShape:
    rings = tuple(_ring(points, frame) for points in each.polygons or ())
    if each.mask_rle is not None:
        checked_runs(each.mask_rle, frame.width, frame.height)
    attributes = _attributes(each.attributes)
    box: Box = each.bbox
    return ReviewedShape(
        each.category,
        box,
        annotation_id=each.annotation_id,
        rings=rings,
        mask_rle=None if rings else each.mask_rle,
        track_id=each.track_id,
        text=each.text,
        rotation=(each.rotation or 0.0) % 360,
        is_crowd=each.is_crowd,
        attributes=attributes,
        place=place,
        score=each.score,
    )


def _attributes(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict):
        return found
    raise ValueError(f"attributes: expected a JSON object, found {shortened(text)}")


def _ring(points: Sequence[float], frame: _Frame) -> Ring:
    checked_ring(points, frame.width, frame.height)
    return tuple(zip(points[::2], points[1::2], strict=True))
