"""COCO as annotation tools read and write it: https://cocodataset.org/#format-data."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from transforms.formats.coco_rle import checked_ring, checked_runs, compressed
from transforms.formats.exports.coco import coco_files
from transforms.formats.exports.objects import Objects
from transforms.formats.reviewing.shapes import (
    Returned,
    ReviewedShape,
    ReviewFile,
    ReviewFileError,
    Ring,
    box_around,
    explained,
    kept_attributes,
)
from transforms.formats.reviewing.values import one_line_each

_SPLIT = "review"
_MOST_TRACKS = 1 << 63


def review_coco_files(rows: pa.Table, objects: Objects, _root: str = "") -> dict[str, bytes]:
    """Return `annotations.json`, and `ids.json`, which maps annotation ids of that file to object ids of the tables.

    The file itself has the same ids as `winnow_id`, but not every tool preserves it.
    """
    rows = rows.append_column("split", pa.repeat(pa.scalar(_SPLIT), rows.num_rows))
    (data,) = coco_files(rows, [_SPLIT], objects).values()
    ids = {str(each["id"]): each["winnow_id"] for each in json.loads(data)["annotations"]}
    return {"annotations.json": data, "ids.json": json.dumps(ids, indent=1).encode() + b"\n"}


class _Loose(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class _Info(_Loose):
    contributor: str | None = None
    date_created: str | None = None


class _Image(_Loose):
    id: int | str
    file_name: str
    width: int = Field(ge=1)
    height: int = Field(ge=1)


class _Category(_Loose):
    id: int
    name: str


class _Runs(_Loose):
    size: tuple[int, int]
    counts: str | list[int]


class _Annotation(_Loose):
    # Some converters number no annotations.
    id: int | str | None = None
    image_id: int | str
    category_id: int
    bbox: tuple[float, float, float, float] | None = None
    segmentation: list[list[float]] | _Runs | None = None
    iscrowd: int | bool | None = None
    keypoints: list[float] | None = None
    track_id: int | None = None
    text: str | None = None
    score: float | None = None
    winnow_id: str | None = None
    attributes: dict[str, Any] | None = None


class _Document(_Loose):
    info: _Info | None = None
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


def read_review_coco(data: bytes, ids: dict[str, str] | None = None) -> ReviewFile:
    """Return all images of a file; an image without annotations is a reviewed frame without objects.

    The object of an annotation is identified by `winnow_id`, by an attribute `winnow_id` or `annotation_id` as tools
    keep them, or else by its number in `ids`. `attributes.rotation` turns its box, in degrees clockwise about the
    centre. Keypoints are not supported. Raises `ReviewFileError` if it is no such file.
    """
    try:
        document = _Document.model_validate_json(data)
    except ValidationError as error:
        raise ReviewFileError(explained(error, within=_named_by_id(data))) from error
    names = {category.id: category.name for category in document.categories}
    images = {image.id: image for image in document.images}
    file = ReviewFile(classes=[category.name for category in document.categories])
    if len(names) < len(document.categories):
        file.problems.append("categories: an id occurs twice")
    if len(images) < len(document.images):
        file.problems.append("images: an id occurs twice")
    shapes: dict[int | str, list[ReviewedShape]] = {image: [] for image in images}
    unknown: dict[str, list[str]] = {}
    for number, each in enumerate(document.annotations, 1):
        place = f"annotation {number}" + ("" if each.id is None else f" (id {each.id})")
        if each.image_id not in images:
            file.problems.append(f"{place}, image_id: expected the id of an image of the file, found {each.image_id!r}")
            continue
        if each.category_id not in names:
            wrong = f"expected that of a category of the file, found {each.category_id}"
            unknown.setdefault(wrong, []).append(f"{place}, category_id")
            continue
        if each.keypoints and any(each.keypoints):
            file.unsupported.append(f"{place}: keypoints")
        try:
            shape = _shape(each, names[each.category_id], images[each.image_id], ids or {}, place)
        except ValueError as error:
            file.problems.append(f"{place}: {error}")
        else:
            shapes[each.image_id].append(shape)
    file.problems += one_line_each(unknown)
    info = document.info or _Info()
    when = file.time_of(info.date_created, "info.date_created")
    file.frames = [
        Returned(
            f"image {image.id}",
            image.file_name,
            tuple(shapes[image.id]),
            (image.width, image.height),
            info.contributor or None,
            when,
        )
        for image in document.images
    ]
    return file


def _named_by_id(data: bytes) -> Mapping[str, Any]:
    """Return the document as it is, to name annotations by their ids; nothing where it cannot be read."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _crowd(each: _Annotation, attributes: dict[str, Any]) -> bool | None:
    """Return whether an annotation is a crowd; None where nothing credible says so.

    Datumaro makes a crowd of everything with run lengths. It drops fields of ours, but keeps attributes of ours.
    """
    by_us = attributes.pop("winnow_crowd", None)
    went_through_a_tool = each.winnow_id is None and "winnow_id" in (each.attributes or {})
    if went_through_a_tool and isinstance(each.segmentation, _Runs) and each.iscrowd:
        return True if by_us else None
    return None if each.iscrowd is None else bool(each.iscrowd)


def _shape(each: _Annotation, category: str, image: _Image, ids: dict[str, str], place: str) -> ReviewedShape:
    attributes = dict(each.attributes or {})
    own = [each.winnow_id, attributes.pop("winnow_id", None), attributes.pop("annotation_id", None)]
    known = next((str(name) for name in own if name), None)
    track = attributes.pop("track_id", None)
    if each.track_id is not None:
        track = each.track_id
    if track is not None and not (isinstance(track, int) or (isinstance(track, str) and track.isdecimal())):
        raise ValueError(f"attributes.track_id: expected a whole number, found {track!r}")
    if track is not None and not -_MOST_TRACKS <= int(track) < _MOST_TRACKS:
        raise ValueError("track_id: expected a number of at most 64 bits, found a larger one")
    if each.iscrowd not in {None, 0, 1}:
        raise ValueError(f"iscrowd: expected 0 or 1, found {each.iscrowd}")
    text = attributes.pop("text", None)
    common: dict[str, Any] = {
        "category": category,
        "annotation_id": known,
        "numbered_id": ids.get(str(each.id)),
        "track_id": None if track is None else int(track),
        "text": each.text if each.text is not None else text,
        "is_crowd": _crowd(each, attributes),
        "rotation": _rotation(attributes.pop("rotation", 0)),
        "attributes": kept_attributes(attributes),
        "place": place,
        "score": each.score,
    }
    if isinstance(each.segmentation, _Runs):
        return ReviewedShape(
            box=each.bbox or (0, 0, 0, 0), mask_rle=_counts(each.segmentation, image), **common | {"rotation": 0.0}
        )
    rings = tuple(_ring(points, image) for points in each.segmentation or ())
    if each.bbox is None and not rings:
        raise ValueError("bbox: expected x, y, width and height, found nothing")
    box = each.bbox or box_around(rings)
    if common["rotation"] and _is_rectangle(rings, each.bbox):
        rings = ()
    if rings:
        is_box = _is_rectangle(rings, each.bbox)
        return ReviewedShape(box=box, rings=rings, repeats_box=is_box, **common | {"rotation": 0.0})
    return ReviewedShape(box=box, **common)


def _rotation(value: Any) -> float:
    try:
        degrees = float(value or 0)
    except (TypeError, ValueError):
        degrees = math.nan
    if not math.isfinite(degrees):
        raise ValueError(f"attributes.rotation: expected degrees, found {value!r}")
    return degrees % 360


def _ring(points: list[float], image: _Image) -> Ring:
    try:
        checked_ring(points, image.width, image.height)
    except ValueError as error:
        raise ValueError(f"segmentation: {error}") from error
    return tuple(zip(points[::2], points[1::2], strict=True))


def _is_rectangle(rings: tuple[Ring, ...], box: tuple[float, float, float, float] | None) -> bool:
    """Return whether polygons only repeat the box, as some tools write it."""
    if box is None or len(rings) != 1 or len(rings[0]) not in {4, 5}:
        return False
    corners = {(round(x - box[0], 1), round(y - box[1], 1)) for x, y in rings[0]}
    width, height = round(box[2], 1), round(box[3], 1)
    return corners == {(0.0, 0.0), (width, 0.0), (width, height), (0.0, height)}


def _counts(runs: _Runs, image: _Image) -> str:
    """Return run lengths in COCO's compressed form. Raises `ValueError` if they do not fit the image."""
    height, width = runs.size
    if (width, height) != (image.width, image.height):
        raise ValueError(f"segmentation: its size is {width}x{height}, that of the image {image.width}x{image.height}")
    try:
        return compressed(checked_runs(runs.counts, width, height))
    except ValueError as error:
        raise ValueError(f"segmentation: {error}") from error
