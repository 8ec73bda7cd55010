"""Datumaro's own format, read: https://open-edge-platform.github.io/datumaro."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from transforms.formats.coco_rle import checked_ring, checked_runs, compressed
from transforms.formats.reviewing.shapes import (
    Box,
    Returned,
    ReviewedShape,
    ReviewFile,
    ReviewFileError,
    Ring,
    box_around,
    explained,
    kept_attributes,
)
from transforms.formats.reviewing.values import finite, flag, one_line_each, whole

_BOX, _POLYGON, _MASK = "bbox", "polygon", "mask"
_SHAPES = (_BOX, _POLYGON, _MASK)
_LABEL = "label"


class _Loose(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class _Runs(_Loose):
    size: tuple[int, int]
    counts: str | list[int]


class _Annotation(_Loose):
    id: int = 0
    type: str
    group: int = 0
    label_id: int | None = None
    attributes: dict[str, Any] = Field(default_factory=dict)
    bbox: tuple[float, float, float, float] | None = None
    points: list[float] | None = None
    rle: _Runs | None = None


class _Media(_Loose):
    path: str = ""
    size: tuple[int, int] | None = None


class _Item(_Loose):
    id: str
    annotations: list[_Annotation] = Field(default_factory=list)
    image: _Media | None = None


class _Label(_Loose):
    name: str


class _Labels(_Loose):
    labels: list[_Label]


class _Categories(_Loose):
    label: _Labels | None = None


class _Document(_Loose):
    categories: _Categories
    items: list[_Item]


def read_datumaro(data: bytes) -> ReviewFile:
    """Return all items of a file; one without annotations is a frame without objects.

    Annotations of one group and label are one object: its box, and its mask or polygons. The attributes `rotation`,
    `score`, `track_id`, `text` and `is_crowd` have the meaning that exports of Winnow give them. Raises
    `ReviewFileError` if it is no such file.
    """
    try:
        document = _Document.model_validate_json(data)
    except ValidationError as error:
        raise ReviewFileError(explained(error)) from error
    labels = [label.name for label in (document.categories.label or _Labels(labels=[])).labels]
    file = ReviewFile(classes=labels)
    unknown: dict[str, list[str]] = {}
    for item in document.items:
        size = item.image.size if item.image else None
        shapes = []
        for parts in _objects(item, file):
            first = parts[0]
            place = f"item {item.id}, annotation {first.id}"
            if first.label_id is None or not 0 <= first.label_id < len(labels):
                wrong = f"expected a label_id below {len(labels)}, found {first.label_id}"
                unknown.setdefault(wrong, []).append(place)
                continue
            try:
                shapes.append(_shape(parts, labels[first.label_id], size, f"annotation {first.id}"))
            except ValueError as error:
                file.problems.append(f"{place}: {error}")
        name = (item.image.path if item.image else "") or item.id
        tags = []
        for each in (each for each in item.annotations if each.type == _LABEL):
            if each.label_id is None or not 0 <= each.label_id < len(labels):
                wrong = f"expected a label_id below {len(labels)}, found {each.label_id}"
                unknown.setdefault(wrong, []).append(f"item {item.id}, annotation {each.id}")
            else:
                tags.append(labels[each.label_id])
        width_height = (size[1], size[0]) if size else None
        # Datumaro writes images without folders, with the names of these in theirs; the id stays as it was.
        other = item.id + PurePosixPath(name).suffix
        frame = Returned(f"item {item.id}", name, tuple(shapes), width_height, tags=tuple(tags) or None)
        file.frames.append(replace(frame, other_name=None if other == name else other))
    file.problems += one_line_each(unknown)
    return file


def _objects(item: _Item, file: ReviewFile) -> list[list[_Annotation]]:
    """Return the annotations of each object of an item, in the order of the first of each."""
    found: dict[tuple[Any, ...], list[_Annotation]] = {}
    for at, each in enumerate(item.annotations):
        if each.type == _LABEL:
            continue
        if each.type not in _SHAPES:
            file.unsupported.append(f"item {item.id}, annotation {each.id}: {each.type}")
            continue
        key = (each.group, each.label_id) if each.group else ("alone", at)
        found.setdefault(key, []).append(each)
    return [part for parts in found.values() for part in _apart(parts)]


def _apart(parts: list[_Annotation]) -> list[list[_Annotation]]:
    """Return the objects of a group and label: several boxes alone are a group of objects, as CVAT has them."""
    return [[each] for each in parts] if {each.type for each in parts} == {_BOX} else [parts]


def _shape(
    annotations: Sequence[_Annotation], category: str, size: tuple[int, int] | None, place: str
) -> ReviewedShape:
    boxes = [each.bbox for each in annotations if each.type == _BOX and each.bbox]
    rings = tuple(_ring(each.points or [], size) for each in annotations if each.type == _POLYGON)
    masks = [each.rle for each in annotations if each.type == _MASK]
    if len(boxes) > 1 or len(masks) > 1 or (rings and masks):
        raise ValueError("expected one box, and one mask or polygons, in a group of one label; found more")
    attributes = dict(annotations[0].attributes)
    mask_rle = _counts(masks[0], size) if masks else None
    box: Box = boxes[0] if boxes else box_around(rings) if rings else (0.0, 0.0, 0.0, 0.0)
    if not boxes and not rings and mask_rle is None:
        raise ValueError("expected a box, polygons or run lengths, found none of them")
    own = {name: attributes.pop(name, None) for name in ("track_id", "text", "is_crowd", "rotation", "score")}
    attributes.pop("winnow_id", None)
    return ReviewedShape(
        category,
        box,
        rings=rings,
        mask_rle=mask_rle,
        track_id=None if own["track_id"] is None else whole(_text(own["track_id"]), "attributes.track_id"),
        text=None if own["text"] is None else _text(own["text"]),
        is_crowd=None if own["is_crowd"] is None else flag(_text(own["is_crowd"]), "attributes.is_crowd"),
        rotation=finite(_text(own["rotation"] or 0), "attributes.rotation") % 360,
        score=None if own["score"] is None else finite(_text(own["score"]), "attributes.score"),
        attributes=kept_attributes(_plain(attributes)),
        place=place,
    )


def _text(value: Any) -> str:
    """Return an attribute as text; Datumaro writes a whole number that went through its own as `7.0`."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if value is not None}


def _ring(points: list[float], size: tuple[int, int] | None) -> Ring:
    height, width = size or (1 << 20, 1 << 20)
    checked_ring(points, width, height)
    return tuple(zip(points[::2], points[1::2], strict=True))


def _counts(runs: _Runs | None, size: tuple[int, int] | None) -> str:
    if runs is None:
        raise ValueError("rle: expected run lengths, found nothing")
    if size and runs.size != size:
        raise ValueError(f"rle: expected the size {list(size)} of its image, found {list(runs.size)}")
    height, width = runs.size
    return compressed(checked_runs(runs.counts, width, height))
