"""Shapes and frames exchanged with annotation tools, image names, and comparison of boxes and polygons."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
from pydantic import ValidationError

from transforms.formats.coco_rle import shortened

HASH_DIGITS = 16
TOLERANCE_PX = 0.1
"""Movements up to this many pixels count as rounding by the tool."""

TOLERANCE_DEGREES = 0.1
"""Turns up to this many degrees count as rounding by the tool."""

RELATIONS = "relations"
"""The attribute with the relations of an object to others, each a dictionary with the other's id as `to`."""

_NAME = re.compile(
    rf"(?:(?P<folder>.*)/)?(?:[^/]*-)?(?P<number>\d{{1,18}})-(?P<hash>[0-9a-f]{{{HASH_DIGITS}}})(?:\.[A-Za-z0-9]+)?$"
)

Box = tuple[float, float, float, float]
"""Left, top, width and height in pixels of the full frame."""

Ring = tuple[tuple[float, float], ...]
"""Corners of a polygon, x and y in pixels of the full frame."""


class ReviewFileError(ValueError):
    """A file is not in the tool's format; `problems` has a message for each reason."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True)
class ReviewedShape:
    """An object in an annotation tool.

    Its area is that of the polygons `rings`, or of `mask_rle` (COCO's compressed run lengths), or else the box, turned
    clockwise about its centre by `rotation` degrees. `annotation_id` is the id that the tool has kept with it, of ours
    or its own; `numbered_id` the id of ours that its number in the file refers to, which tools change. `track` is the
    tool's own name of a track, where `track_id` is a number of ours. What is None, and attributes that are missing,
    the file does not say. `place` is its location in the file, for messages. `repeats_box`: its polygon is the box, as
    some tools write it for every box. `score`: the confidence of a model, 0..1, which only imported labels keep.
    """

    category: str
    box: Box
    annotation_id: str | None = None
    rings: tuple[Ring, ...] = ()
    mask_rle: str | None = None
    track_id: int | None = None
    text: str | None = None
    note: str | None = None
    rotation: float = 0.0
    is_crowd: bool | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    place: str = "object"
    numbered_id: str | None = None
    track: str | None = None
    repeats_box: bool = False
    score: float | None = None

    @property
    def has_area(self) -> bool:
        """Return whether there is more to it than a box."""
        return self.mask_rle is not None or bool(self.rings)


@dataclass(frozen=True)
class Returned:
    """A reviewed frame with all objects that are on it after the review.

    `place` is its location in the file, for messages, and `name` the image's file name. `size` is width and height in
    pixels, if the file has them. `tags` are of the frame as a whole, None if the file does not say. `other_name`: that
    which the image had before a tool renamed its file. `content_hash`: that of the frame, in files of Winnow.
    """

    place: str
    name: str
    shapes: tuple[ReviewedShape, ...]
    size: tuple[int, int] | None = None
    reviewer: str | None = None
    reviewed_ns: int | None = None
    note: str | None = None
    tags: tuple[Any, ...] | None = None
    other_name: str | None = None
    content_hash: str | None = None


@dataclass
class ReviewFile:
    """What a file of an annotation tool says.

    `problems`: what is wrong in it. `unsupported`: what it has that there is no place for in the tables. `notes`: how
    it was read where there is more than one way. Each is a message that names the place in the file, as is `undated`: a
    date that cannot be read, "" for none. `classes`: those that it declares, in its order, also without an object.
    """

    frames: list[Returned] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    unsupported: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    undated: str = ""
    classes: list[str] = field(default_factory=list)

    def time_of(self, text: str | None, place: str) -> int | None:
        """Return a tool's time in ns since 1970; None for none, and for one that `undated` then has a message on."""
        found = time_ns(text)
        if text and found is None and not self.undated:
            self.undated = (
                f"{place}: expected a date as 2026-05-04T10:30:00Z, found {text[:40]!r}; where there is none, "
                "decisions are of the time of the import"
            )
        return found


class UnsupportedError(ValueError):
    """An object is of a kind that there is no place for in the tables."""


@dataclass(frozen=True)
class ImageName:
    """The parts of an image's file name: folders, frame number and digits of the content hash."""

    folder: str
    number: int
    hash: str


def image_name(stream_id: str, number: int, content_hash: str, suffix: str) -> str:
    """Return the file name of a frame in an annotation tool."""
    return f"{stream_id}/{number:08d}-{content_hash[:HASH_DIGITS]}{suffix}"


def parse_name(name: str) -> ImageName | None:
    """Return the parts of a name from `image_name`; None for other names.

    Tools put something before it, and name label files so, without the suffix of the image.
    """
    found = _NAME.search(name)
    return ImageName(found["folder"] or "", int(found["number"]), found["hash"]) if found else None


def box_around(rings: Sequence[Ring]) -> Box:
    """Return the bounding box of polygons."""
    points = np.concatenate([np.asarray(ring, np.float64) for ring in rings])
    low, high = points.min(axis=0), points.max(axis=0)
    return float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])


def overlap(one: Box, other: Box) -> float:
    """Return the overlap (IoU) of two upright boxes."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    # Written so that what is no number overlaps nothing.
    if not (width > 0 and height > 0):
        return 0.0
    shared = width * height
    return shared / (one[2] * one[3] + other[2] * other[3] - shared)


def same_box(one: Box, other: Box) -> bool:
    """Return whether two boxes are equal within `TOLERANCE_PX`."""
    edges = [(b[0], b[1], b[0] + b[2], b[1] + b[3]) for b in (one, other)]
    return all(abs(a - b) <= TOLERANCE_PX for a, b in zip(*edges, strict=True))


def same_rings(one: Sequence[Ring], other: Sequence[Ring]) -> bool:
    """Return whether polygons are equal within `TOLERANCE_PX`."""
    if [len(ring) for ring in one] != [len(ring) for ring in other]:
        return False
    pairs = zip([p for ring in one for p in ring], [p for ring in other for p in ring], strict=True)
    return all(math.dist(a, b) <= TOLERANCE_PX for a, b in pairs)


def same_turn(one: float | None, other: float | None) -> bool:
    """Return whether two rotations, in degrees, are equal within `TOLERANCE_DEGREES`; None is upright."""
    between = ((one or 0.0) - (other or 0.0)) % 360
    return min(between, 360 - between) <= TOLERANCE_DEGREES


def time_ns(text: str | None) -> int | None:
    """Return a tool's time (ISO 8601, or a day with `/` as COCO has it; UTC without a zone) in ns since 1970.

    None if it is missing or invalid, or not within the years 1678 to 2262, which 64 bits hold.
    """
    try:
        moment = datetime.fromisoformat(text.strip().replace("/", "-")) if text else None
        if moment is None:
            return None
        zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        found = int(zoned.timestamp() * 1_000_000) * 1000
    except (ValueError, OverflowError):
        return None
    return found if abs(found) < 1 << 63 else None


_EVERYWHERE = {
    "occluded": (False, "0", "false", "False", 0, None),
    "keyframe": (True, False, "True", "False", "true", "false"),
}
"""Attributes that tools give to all objects, with the values that say nothing."""


def kept_attributes(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of an object without those that the tool gives to all."""
    return {name: value for name, value in found.items() if value not in _EVERYWHERE.get(name, ())}


def _as_expected(message: str) -> str:
    """Return a message of pydantic as other messages are: what was expected."""
    said = message.removeprefix("Value error, ")
    said = re.sub("^Input should be (greater|less) than", r"expected a number \1 than", said)
    said = re.sub("^Input should (be|have) ", "expected ", said)
    return said[0].lower() + said[1:]


def explained(error: ValidationError, names: Sequence[str] = (), within: Any = None) -> list[str]:
    """Return a message for each error of a schema; `names` are put before the locations.

    `within` is the document: parts of it that have an id are named by it as well.
    """
    lines = []
    for each in error.errors(include_url=False):
        place = " ".join([*names, ".".join(_located(each["loc"], within))]).strip()
        is_missing = each["type"] == "missing"
        expected = "expected a value" if is_missing else _as_expected(each["msg"])
        found = "none" if is_missing else shortened(each["input"])
        lines.append(f"{place + ': ' if place else ''}{expected}, found {found}")
    return lines


def _located(path: Sequence[int | str], within: Any) -> list[str]:
    parts = []
    for part in path:
        try:
            within = within[part]
        except (KeyError, IndexError, TypeError):
            within = None
        name = str(part + 1) if isinstance(part, int) else part
        has_id = isinstance(part, int) and isinstance(within, dict) and "id" in within
        parts.append(f"{name} (id {within['id']})" if has_id else name)
    return parts
