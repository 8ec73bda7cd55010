"""Reading and validation of COCO files: ground truth and detection results."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jobs.core.choices import IouType
from jobs.core.errors import UserError, one_line
from transforms.formats.coco_rle import checked_segmentation, shortened

_SHOWN = 10
_SIZE = ("width", "height")
_LISTS = ("images", "annotations", "categories")


def read_ground_truth(path: Path, kind: IouType = "bbox") -> dict[str, Any]:
    """Return a COCO ground-truth file, with missing fields that scoring needs filled in.

    Missing areas are those of the boxes, missing `iscrowd` is 0. Raises `UserError` with all problems.
    """
    document = _document(path)
    if not isinstance(document, dict) or any(not isinstance(document.get(name), list) for name in _LISTS):
        raise UserError(f"ground truth {path}: expected an object with lists of {', '.join(_LISTS)}, as COCO has them")
    problems = [*_record_problems(document, kind), *_name_problems(document)]
    _refuse(problems, f"ground truth {path}")
    if not document["images"]:
        raise UserError(f"ground truth {path}: expected at least one image, found none")
    annotations = []
    for number, row in enumerate(document["annotations"], 1):
        box = row.get("bbox") or [0, 0, 0, 0]
        filled = {"id": number, "area": box[2] * box[3], "iscrowd": 0, **row}
        # pycocotools uses the id 0 for no match.
        annotations.append(filled | {"id": number, "bbox": box})
    return {**document, "annotations": annotations}


def read_detections(path: Path, truth: Mapping[str, Any], kind: IouType = "bbox") -> list[dict[str, Any]]:
    """Return the objects of a COCO results file, with compressed masks. Raises `UserError` with all problems."""
    rows = _document(path)
    if not isinstance(rows, list):
        raise UserError(f"detections {path}: expected a list of objects, as COCO has results; found {_kind(rows)}")
    images = {image["id"]: image for image in truth["images"]}
    categories = {category["id"] for category in truth["categories"]}
    problems: list[str] = []
    for number, row in enumerate(rows, 1):
        wrong = _row_problems(row, images, categories, kind)
        score = row.get("score") if isinstance(row, dict) else 0
        if not _is_number(score):
            wrong.append(f"score: expected a number, found {score!r}")
        problems += [f"object {number}, {text}" for text in wrong]
    _refuse(problems, f"detections {path}")
    return [_as_mask(row, images[row["image_id"]]) for row in rows] if kind == "segm" else rows


def _as_mask(row: Mapping[str, Any], image: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result with a compressed mask and without its box, the only form of masks that pycocotools accepts."""
    from pycocotools import mask as masks

    mask, size = row["segmentation"], (image["height"], image["width"])
    if isinstance(mask, list):
        mask = masks.merge(masks.frPyObjects(mask, *size))
    elif isinstance(mask["counts"], list):
        mask = masks.frPyObjects(mask, *size)
    return {name: value for name, value in row.items() if name != "bbox"} | {"segmentation": mask}


def _document(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"expected JSON: {one_line(error)}"
        raise UserError(f"{path} cannot be read: {reason}") from error


def _refuse(problems: Sequence[str], where: str) -> None:
    if problems:
        more = [f"{where}: … and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        raise UserError([*(f"{where}: {text}" for text in problems[:_SHOWN]), *more])


def _record_problems(document: Mapping[str, Any], kind: IouType) -> Iterator[str]:
    """Yield the problems of the images, categories and objects of a ground-truth file."""
    for number, image in enumerate(document["images"], 1):
        if not isinstance(image, dict) or "id" not in image or not isinstance(image.get("file_name"), str):
            yield f"image {number}: expected an object with id and file_name, found {shortened(image)}"
        elif kind == "segm" and not all(_is_size(image.get(name)) for name in _SIZE):
            yield f"image {number}: expected width and height from 1, which masks need, found {shortened(image)}"
    for number, category in enumerate(document["categories"], 1):
        if not isinstance(category, dict) or "id" not in category or not isinstance(category.get("name"), str):
            yield f"category {number}: expected an object with id and name, found {shortened(category)}"
    images = {_hashable(i.get("id")): i for i in document["images"] if isinstance(i, dict)}
    categories = {_hashable(c.get("id")) for c in document["categories"] if isinstance(c, dict)}
    for number, row in enumerate(document["annotations"], 1):
        for text in _row_problems(row, images, categories, kind):
            yield f"annotation {number}, {text}"


def _name_problems(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield ids and names that must be unique but are not."""
    for name, key in (("images", "id"), ("categories", "id"), ("categories", "name")):
        seen = Counter(_hashable(row.get(key)) for row in document[name] if isinstance(row, dict))
        for value, n in seen.items():
            if n > 1 and value is not None:
                yield f"{name}: {key} {value!r} occurs {n} times, expected once"


def _row_problems(row: Any, images: Mapping[Any, Any], categories: set[Any], kind: IouType) -> list[str]:
    if not isinstance(row, dict):
        return [f"expected an object, found {shortened(row)}"]
    problems = []
    image = images.get(_hashable(row.get("image_id")))
    if image is None:
        problems.append(f"image_id: expected the id of an image of the ground truth, found {row.get('image_id')!r}")
    if _hashable(row.get("category_id")) not in categories:
        found = row.get("category_id")
        problems.append(f"category_id: expected the id of a category of the ground truth, found {found!r}")
    box = row.get("bbox")
    if box is None and kind == "bbox":
        problems.append("bbox: expected x, y, width and height, found nothing")
    elif box is not None and not (
        isinstance(box, list) and len(box) == 4 and all(_is_number(v) for v in box) and min(box[2:]) >= 0
    ):
        problems.append(f"bbox: expected x, y, width and height with sizes from 0, found {shortened(box)}")
    if kind == "segm":
        problems += _mask_problems(row.get("segmentation"), image or {})
    return problems


def _mask_problems(mask: Any, image: Mapping[str, Any]) -> Iterator[str]:
    """Yield the problems of a mask: pycocotools does not validate run lengths, and hangs or exhausts memory on some."""
    if not mask:
        yield "segmentation: expected polygons or run lengths, found nothing"
    elif all(_is_size(image.get(name)) for name in _SIZE):
        try:
            checked_segmentation(mask, *(image[name] for name in _SIZE))
        except ValueError as error:
            yield f"segmentation: {error}"


def _is_size(value: Any) -> bool:
    return type(value) is int and value > 0


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _hashable(value: Any) -> Any:
    return value if isinstance(value, (int, str)) else None


def _kind(value: Any) -> str:
    return "an object" if isinstance(value, dict) else f"a {type(value).__name__}"
