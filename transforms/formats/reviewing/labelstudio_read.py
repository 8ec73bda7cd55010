"""Label Studio's export `JSON`, read back with what people annotated: https://labelstud.io/guide/task_format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Literal
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from transforms.formats.outlines import Mask, turned_corners
from transforms.formats.reviewing.annotator_policy import POLICIES, Policy
from transforms.formats.reviewing.annotators import Opinion, combined
from transforms.formats.reviewing.cvat_shapes import run_lengths_of
from transforms.formats.reviewing.label_studio_brush import decoded_brush
from transforms.formats.reviewing.shapes import (
    RELATIONS,
    Returned,
    ReviewedShape,
    ReviewFile,
    ReviewFileError,
    Ring,
    UnsupportedError,
    box_around,
    explained,
)

_Kind = Literal["rectanglelabels", "polygonlabels", "brushlabels"]
_CHOICES = "choices"
_KINDS: tuple[_Kind, ...] = ("rectanglelabels", "polygonlabels", "brushlabels")


class _Loose(BaseModel):
    # Label Studio writes many more fields, which are not used here.
    model_config = ConfigDict(extra="ignore", strict=True)


class _Value(_Loose):
    x: float | None = None
    y: float | None = None
    width: float | None = Field(None, ge=0)
    height: float | None = Field(None, ge=0)
    rotation: float | None = None
    points: list[Annotated[list[float], Field(min_length=2, max_length=2)]] | None = None
    format: str | None = None
    rle: list[int] | None = None
    rectanglelabels: list[str] | None = None
    polygonlabels: list[str] | None = None
    brushlabels: list[str] | None = None
    choices: list[str] | None = None


class _Region(_Loose):
    id: str | None = None
    type: str
    original_width: int | None = Field(None, ge=1)
    original_height: int | None = Field(None, ge=1)
    image_rotation: float | None = None
    value: dict[str, Any] | None = None
    meta: dict[str, Any] | None = None
    from_id: str | None = None
    to_id: str | None = None
    from_name: str | None = None
    direction: str | None = None
    labels: list[str] | None = None
    score: float | None = None


class _Person(_Loose):
    id: int | None = None
    email: str | None = None
    username: str | None = None

    @property
    def name(self) -> str | None:
        return self.email or self.username or (None if self.id is None else str(self.id))


class _Annotation(_Loose):
    result: list[_Region]
    was_cancelled: bool | None = False
    ground_truth: bool | None = False
    created_at: str | None = None
    updated_at: str | None = None
    completed_by: int | str | _Person | None = None

    @property
    def reviewer(self) -> str | None:
        who = self.completed_by
        return who.name if isinstance(who, _Person) else None if who is None else str(who)

    def time_ns(self, file: ReviewFile, place: str) -> int | None:
        return file.time_of(self.updated_at or self.created_at, f"{place}, updated_at")

    def order(self, file: ReviewFile, place: str) -> tuple[bool, int]:
        return bool(self.ground_truth), self.time_ns(file, place) or 0


class _Data(_Loose):
    image: str


class _Task(_Loose):
    id: int | None = None
    data: _Data
    annotations: list[_Annotation] | None = None
    predictions: list[_Annotation | int] | None = None


def read_labelstudio(
    data: bytes, reviewer: str | None = None, policy: Policy | None = None, predicted: bool = False
) -> ReviewFile:
    """Return the annotated frames of a JSON export; tasks without annotations, and skipped ones, are left out.

    With `predicted`, tasks that nobody has annotated have the predictions of a model instead.

    Of several annotations by one person, the one marked as ground truth counts, or else the last. Where several people
    annotated a task, that of `reviewer` counts if there is one; else `policy` decides, see `combined`. Raises
    `ReviewFileError` if it is no such file.
    """
    try:
        tasks = TypeAdapter(list[_Task]).validate_json(data)
    except ValidationError as error:
        raise ReviewFileError(explained(error, ["task"], _parsed(data))) from error
    file = ReviewFile()
    counts = Counter[str]()
    for number, task in enumerate(tasks, 1):
        place = f"task {number if task.id is None else task.id}"
        annotations = [a for a in task.annotations or () if not a.was_cancelled]
        if predicted and not task.annotations:
            annotations = [each for each in task.predictions or () if isinstance(each, _Annotation)]
        counts["cancelled"] += bool(task.annotations) and not annotations
        counts["open"] += not task.annotations and not annotations
        if not annotations:
            continue
        by_person: dict[str | None, _Annotation] = {}
        ordered = [each for _, _, each in sorted((a.order(file, place), at, a) for at, a in enumerate(annotations))]
        for each in ordered:
            by_person[each.reviewer] = each
        chosen = list(by_person.values())
        if len(by_person) > 1:
            if reviewer in by_person:
                chosen = [by_person[reviewer]]
                counts["reviewer"] += 1
            else:
                counts["several"] += 1
        opinions = [_opinion(each, place, file) for each in chosen]
        shapes, people = combined(opinions, policy or POLICIES[0])
        last = max(chosen, key=ordered.index)
        regions = [r for each in chosen for r in each.result]
        sizes = {(r.original_width, r.original_height) for r in regions if r.type != "relation"}
        width, height = next(iter(sizes)) if len(sizes) == 1 else (None, None)
        file.frames.append(
            Returned(
                place,
                unquote(task.data.image),
                shapes,
                (width, height) if width and height else None,
                ", ".join(people) or None,
                last.time_ns(file, place),
                tags=tuple(_tags(last.result)) or None,
            )
        )
    file.notes += _notes(counts, reviewer, policy)
    return file


def _notes(counts: Counter[str], reviewer: str | None, policy: Policy | None) -> list[str]:
    notes = []
    if counts["open"]:
        notes.append(f"{counts['open']:,} tasks were submitted by nobody, and are not taken for reviewed")
    if counts["cancelled"]:
        notes.append(f"{counts['cancelled']:,} tasks were skipped by their annotators, and are not taken for reviewed")
    if counts["reviewer"]:
        notes.append(f"{counts['reviewer']:,} tasks were annotated by several people; what {reviewer} did counts")
    if counts["several"]:
        how = {
            "latest": "the latest counts, or what is marked as ground truth",
            "consensus": "what more than half of them have counts",
            "all": "everything that one of them has counts",
        }[policy or POLICIES[0]]
        notes.append(
            f"{counts['several']:,} tasks were annotated by several people; {how} "
            f"(--annotator-policy {'|'.join(POLICIES)}, or --reviewer for one of them)"
        )
    return notes


def _parsed(data: bytes) -> Any:
    try:
        return TypeAdapter(Any).validate_json(data)
    except ValidationError:
        return None


def _opinion(annotation: _Annotation, place: str, file: ReviewFile) -> Opinion:
    shapes: list[ReviewedShape] = []
    beside = _beside(annotation.result)
    for at, region in enumerate(annotation.result, 1):
        inner = f"region {at}" + (f" (id {region.id})" if region.id else "")
        where = f"{place}, {inner}"
        if region.type in {"relation", _CHOICES}:
            continue
        try:
            shapes.append(_shape(region, inner, beside.get(region.id or "", {})))
        except ValidationError as error:
            file.problems += [f"{where}, {line}" for line in explained(error, ["value"])]
        except UnsupportedError as error:
            file.unsupported.append(f"{where}: {error}")
        except ValueError as error:
            file.problems.append(f"{where}: {error}")
    return Opinion(annotation.reviewer, annotation.order(file, place), tuple(shapes))


def _beside(regions: Sequence[_Region]) -> dict[str, dict[str, Any]]:
    """Return the attributes of each region by its id: its relations to others, and what was chosen about it."""
    found: dict[str, dict[str, Any]] = {}
    for region in regions:
        if region.type == "relation" and region.from_id and region.to_id:
            more = {"direction": region.direction, "labels": region.labels}
            kept = {name: value for name, value in more.items() if value}
            found.setdefault(region.from_id, {}).setdefault(RELATIONS, []).append({"to": region.to_id, **kept})
        elif region.type == _CHOICES and region.id:
            found.setdefault(region.id, {})[region.from_name or _CHOICES] = (region.value or {}).get(_CHOICES)
    return found


def _tags(regions: Sequence[_Region]) -> list[str]:
    """Return what was chosen about the frame as a whole."""
    objects = {region.id for region in regions if region.type in _KINDS}
    chosen = [r.value or {} for r in regions if r.type == _CHOICES and r.id not in objects]
    return [str(choice) for value in chosen for choice in _listed(value.get(_CHOICES))]


def _listed(value: Any) -> list[Any]:
    """Return what was chosen: Label Studio writes a list, null for none, and older versions a single text."""
    return value if isinstance(value, list) else [] if value is None else [value]


def _shape(region: _Region, place: str, attributes: dict[str, Any]) -> ReviewedShape:
    """Return a region as a shape. Raises `ValueError`, and `UnsupportedError` for other kinds of regions."""
    kind = next((kind for kind in _KINDS if kind == region.type), None)
    if kind is None:
        raise UnsupportedError(f"{region.type}: expected {' or '.join(_KINDS)}")
    value = _Value.model_validate(region.value or {})
    labels = getattr(value, kind) or []
    if len(labels) != 1:
        raise ValueError(f"expected one label, found {len(labels)}")
    if (region.image_rotation or 0) % 360:
        raise UnsupportedError("an image that was rotated in Label Studio: expected one as it was exported")
    width, height = region.original_width, region.original_height
    if width is None or height is None:
        raise ValueError("expected original_width and original_height, found none")
    across, down = width / 100, height / 100
    note = (region.meta or {}).get("text")
    common: dict[str, Any] = {"annotation_id": region.id, "place": place, "attributes": attributes}
    common["score"] = region.score
    common["note"] = (" ".join(map(str, note)) if isinstance(note, list) else note) or None
    if kind == "brushlabels":
        if value.format != "rle" or value.rle is None:
            raise ValueError(f"expected the brush's format rle with its numbers, found {value.format!r}")
        mask = decoded_brush(value.rle, width, height)
        (x, y), (right, bottom) = (corner.tolist() for corner in _corners(mask))
        return ReviewedShape(labels[0], (x, y, right - x, bottom - y), mask_rle=run_lengths_of(mask), **common)
    if kind == "polygonlabels":
        if value.points is None or len(value.points) < 3:
            raise ValueError("expected at least three points, found fewer")
        ring: Ring = tuple((x * across, y * down) for x, y in value.points)
        return ReviewedShape(labels[0], box_around([ring]), rings=(ring,), **common)
    if value.x is None or value.y is None or value.width is None or value.height is None:
        raise ValueError("expected x, y, width and height, found not all of them")
    left, top, box_width, box_height = value.x * across, value.y * down, value.width * across, value.height * down
    degrees = (value.rotation or 0) % 360
    if degrees:
        # Label Studio turns a box about its upper left corner.
        corner = turned_corners((left, top, box_width, box_height), degrees)[0]
        left, top = 2 * left - float(corner[0]), 2 * top - float(corner[1])
    return ReviewedShape(labels[0], (left, top, box_width, box_height), rotation=degrees, **common)


def _corners(mask: Mask) -> npt.NDArray[np.int64]:
    """Return the upper left and the lower right corner of a mask, x and y, shape (2, 2); zeros for an empty one."""
    y, x = np.nonzero(mask)
    if not len(x):
        return np.zeros((2, 2), np.int64)
    return np.array([[x.min(), y.min()], [x.max() + 1, y.max() + 1]])
