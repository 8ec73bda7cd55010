"""Label Studio tasks: written with predictions, read with annotations; https://labelstud.io/guide/task_format."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal
from urllib.parse import quote, unquote
from xml.etree import ElementTree as ET

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from transforms.formats.exports.objects import Objects
from transforms.formats.reviewing.shapes import (
    Returned,
    ReviewedShape,
    ReviewFileError,
    Ring,
    box_around,
    explained,
    rings_of,
    time_ns,
)

_IMAGE, _BOXES, _OUTLINES = "image", "box", "outline"
_KINDS = {"rectanglelabels": _BOXES, "polygonlabels": _OUTLINES}


def labelstudio_files(rows: pa.Table, objects: Objects, root: str) -> dict[str, bytes]:
    """Return `tasks.json`, to be imported, and `labels.xml`, the labelling interface for it.

    Objects are predictions with coordinates in percent of the image; each has its own id, which Label Studio keeps when
    it turns a prediction into an annotation. `root` is put before the images' names to make URLs.
    """
    tasks = []
    columns = ("file_name", "width", "height", "stream_id", "frame_idx", "content_hash")
    for row, frame in enumerate(rows.select(columns).to_pylist()):
        found = [_region(each, frame["width"], frame["height"]) for each in objects.of(row)]
        scores = [each["score"] for each in objects.of(row)]
        key = {name: frame[name] for name in ("stream_id", "frame_idx", "content_hash")}
        prediction: dict[str, Any] = {
            "model_version": ", ".join(sorted({each["model"] for each in objects.of(row)})) or "winnow",
            "score": round(min(scores, default=1.0), 6),
            "result": found,
        }
        data: dict[str, Any] = {_IMAGE: root + quote(frame["file_name"]), **key}
        tasks.append({"data": data, "predictions": [prediction]})
    text = json.dumps(tasks, separators=(",", ":"), ensure_ascii=False)
    return {"tasks.json": text.encode() + b"\n", "labels.xml": _interface(objects.categories)}


def _region(each: dict[str, Any], width: int, height: int) -> dict[str, Any]:
    rings = rings_of(each, width, height)
    kind = "polygonlabels" if rings else "rectanglelabels"
    across, down = 100 / width, 100 / height
    place: dict[str, Any]
    if rings:
        place = {"points": [[x * across, y * down] for x, y in rings[0]], "closed": True}
    else:
        place = {
            "x": each["bbox_x"] * across,
            "y": each["bbox_y"] * down,
            "width": each["bbox_w"] * across,
            "height": each["bbox_h"] * down,
            "rotation": 0,
        }
    return {
        "id": each["annotation_id"],
        "from_name": _KINDS[kind],
        "to_name": _IMAGE,
        "type": kind,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "score": round(each["score"], 6),
        "value": {**place, kind: [each["category"]]},
    }


def _interface(categories: tuple[str, ...]) -> bytes:
    view = ET.Element("View")
    ET.SubElement(view, "Image", name=_IMAGE, value=f"${_IMAGE}", zoom="true")
    for element, name in (("RectangleLabels", _BOXES), ("PolygonLabels", _OUTLINES)):
        labels = ET.SubElement(view, element, name=name, toName=_IMAGE)
        for category in categories:
            ET.SubElement(labels, "Label", value=category)
    ET.indent(view)
    return ET.tostring(view, encoding="utf-8") + b"\n"


class _Loose(BaseModel):
    # Label Studio writes many more fields, which are not used here.
    model_config = ConfigDict(extra="ignore", strict=True)


class _Value(_Loose):
    x: float | None = None
    y: float | None = None
    width: float | None = Field(None, ge=0)
    height: float | None = Field(None, ge=0)
    rotation: float = 0
    points: list[Annotated[list[float], Field(min_length=2, max_length=2)]] | None = None
    rectanglelabels: list[str] | None = None
    polygonlabels: list[str] | None = None


class _Region(_Loose):
    id: str | None = None
    type: str
    original_width: int | None = Field(None, ge=1)
    original_height: int | None = Field(None, ge=1)
    image_rotation: float = 0
    value: dict[str, Any]
    meta: dict[str, Any] = {}


class _Person(_Loose):
    id: int | None = None
    email: str | None = None
    username: str | None = None

    @property
    def name(self) -> str | None:
        return self.email or self.username or (None if self.id is None else str(self.id))


class _Annotation(_Loose):
    result: list[_Region]
    was_cancelled: bool = False
    ground_truth: bool = False
    created_at: str | None = None
    updated_at: str | None = None
    completed_by: int | str | _Person | None = None

    @property
    def reviewer(self) -> str | None:
        who = self.completed_by
        return who.name if isinstance(who, _Person) else None if who is None else str(who)

    @property
    def order(self) -> tuple[bool, int]:
        return self.ground_truth, time_ns(self.updated_at or self.created_at) or 0


class _Data(_Loose):
    image: str


class _Task(_Loose):
    id: int | None = None
    data: _Data
    annotations: list[_Annotation] | None = None


def read_labelstudio(data: bytes) -> list[Returned]:
    """Return the annotated frames of a JSON export; tasks without annotations, and skipped ones, are left out.

    Of several annotations of a task, the one marked as ground truth counts, or else the last. Raises `ReviewFileError`.
    """
    try:
        tasks = TypeAdapter(list[_Task]).validate_json(data)
    except ValidationError as error:
        raise ReviewFileError(explained(error, ["task"])) from error
    frames, problems = [], []
    for number, task in enumerate(tasks, 1):
        place = f"task {number if task.id is None else task.id}"
        annotations = [a for a in task.annotations or () if not a.was_cancelled]
        if not annotations:
            continue
        chosen = max(annotations, key=lambda a: a.order)
        shapes: list[ReviewedShape] = []
        for at, region in enumerate(chosen.result, 1):
            where = f"{place}, region {at}"
            try:
                shape = _shape(region)
            except ValidationError as error:
                problems += [f"{where}, {line}" for line in explained(error, ["value"])]
            except ValueError as error:
                problems.append(f"{where}: {error}")
            else:
                shapes += [shape] if shape else []
        sizes = {(r.original_width, r.original_height) for r in chosen.result}
        width, height = next(iter(sizes)) if len(sizes) == 1 else (None, None)
        frames.append(
            Returned(
                place,
                unquote(task.data.image),
                tuple(shapes),
                (width, height) if width and height else None,
                chosen.reviewer,
                time_ns(chosen.updated_at or chosen.created_at),
            )
        )
    if problems:
        raise ReviewFileError(problems, frames)
    return frames


def _shape(region: _Region) -> ReviewedShape | None:
    """Return a region as a shape; None if it is not an object, such as a choice about the whole image."""
    if not region.type.endswith("labels") and region.type not in {"rectangle", "polygon"}:
        return None
    if region.type not in _KINDS:
        known = " or ".join(_KINDS)
        raise ValueError(f"expected {known}, found {region.type!r}")
    kind: Literal["rectanglelabels", "polygonlabels"]
    kind = "rectanglelabels" if region.type == "rectanglelabels" else "polygonlabels"
    value = _Value.model_validate(region.value)
    labels = getattr(value, kind) or []
    if len(labels) != 1:
        raise ValueError(f"expected one label, found {len(labels)}")
    if region.image_rotation or value.rotation:
        raise ValueError("expected a box without rotation on the unrotated image, found a rotated one")
    width, height = region.original_width, region.original_height
    if width is None or height is None:
        raise ValueError("expected original_width and original_height, found none")
    across, down = width / 100, height / 100
    note = region.meta.get("text")
    common: dict[str, Any] = {"annotation_id": region.id}
    common["note"] = " ".join(map(str, note)) if isinstance(note, list) else note
    if kind == "polygonlabels":
        if value.points is None or len(value.points) < 3:
            raise ValueError("expected at least three points, found fewer")
        ring: Ring = tuple((x * across, y * down) for x, y in value.points)
        return ReviewedShape(labels[0], box_around([ring]), rings=(ring,), **common)
    if value.x is None or value.y is None or value.width is None or value.height is None:
        raise ValueError("expected x, y, width and height, found not all of them")
    return ReviewedShape(
        labels[0], (value.x * across, value.y * down, value.width * across, value.height * down), **common
    )
