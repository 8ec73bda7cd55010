"""COCO as annotation tools read and write it: https://cocodataset.org/#format-data."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from transforms.formats.coco_rle import checked_ring, checked_runs, compressed
from transforms.formats.exports.coco import coco_files
from transforms.formats.exports.objects import Objects
from transforms.formats.reviewing.shapes import (
    Returned,
    ReviewedShape,
    ReviewFileError,
    Ring,
    box_around,
    explained,
    time_ns,
)

_SPLIT = "review"


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
    id: int | str
    image_id: int | str
    category_id: int
    bbox: tuple[float, float, float, float] | None = None
    segmentation: list[list[float]] | _Runs | None = None
    iscrowd: int = 0
    track_id: int | None = None
    text: str | None = None
    winnow_id: str | None = None
    attributes: dict[str, Any] = {}


class _Document(_Loose):
    info: _Info | None = None
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


def read_review_coco(data: bytes, ids: dict[str, str] | None = None) -> list[Returned]:
    """Return all images of a file; an image without annotations is a reviewed frame without objects.

    The object of an annotation is identified by `winnow_id`, by an attribute `winnow_id` or `annotation_id` as CVAT
    keeps them, or by its annotation id and `ids`. Raises `ReviewFileError`.
    """
    try:
        document = _Document.model_validate_json(data)
    except ValidationError as error:
        raise ReviewFileError(explained(error)) from error
    names = {category.id: category.name for category in document.categories}
    images = {image.id: image for image in document.images}
    problems = []
    if len(names) < len(document.categories):
        problems.append("categories: an id occurs twice")
    if len(images) < len(document.images):
        problems.append("images: an id occurs twice")
    shapes: dict[int | str, list[ReviewedShape]] = {image: [] for image in images}
    for number, each in enumerate(document.annotations, 1):
        place = f"annotation {number}"
        if each.image_id not in images:
            problems.append(f"{place}, image_id: expected the id of an image of the file, found {each.image_id!r}")
        elif each.category_id not in names:
            problems.append(f"{place}, category_id: expected that of a category of the file, found {each.category_id}")
        else:
            try:
                shapes[each.image_id].append(_shape(each, names[each.category_id], images[each.image_id], ids or {}))
            except ValueError as error:
                problems.append(f"{place}: {error}")
    info = document.info or _Info()
    frames = [
        Returned(
            f"image {image.id}",
            image.file_name,
            tuple(shapes[image.id]),
            (image.width, image.height),
            info.contributor or None,
            time_ns(info.date_created),
        )
        for image in document.images
    ]
    if problems:
        raise ReviewFileError(problems, frames)
    return frames


def _shape(each: _Annotation, category: str, image: _Image, ids: dict[str, str]) -> ReviewedShape:
    attributes = each.attributes
    known = each.winnow_id or attributes.get("winnow_id") or attributes.get("annotation_id") or ids.get(str(each.id))
    common: dict[str, Any] = {"annotation_id": known and str(known), "track_id": each.track_id, "text": each.text}
    if isinstance(each.segmentation, _Runs):
        return ReviewedShape(
            category, mask_rle=_counts(each.segmentation, image), box=each.bbox or (0, 0, 0, 0), **common
        )
    rings = tuple(_ring(points, image) for points in each.segmentation or ())
    if each.bbox is None and not rings:
        raise ValueError("bbox: expected x, y, width and height, found nothing")
    if rings and not _is_rectangle(rings, each.bbox):
        return ReviewedShape(category, each.bbox or box_around(rings), rings=rings, **common)
    return ReviewedShape(category, each.bbox or box_around(rings), **common)


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
