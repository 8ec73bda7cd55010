"""Shapes and frames exchanged with annotation tools, image names, and comparison of boxes and polygons."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from transforms.formats.exports.objects import mask_of, outline

HASH_DIGITS = 16
TOLERANCE_PX = 0.1
"""Movements up to this many pixels count as rounding by the tool."""

_NAME = re.compile(
    rf"(?:(?P<folder>.*)/)?(?:[^/]*-)?(?P<number>\d+)-(?P<hash>[0-9a-f]{{{HASH_DIGITS}}})\.[A-Za-z0-9]+$"
)

Box = tuple[float, float, float, float]
"""Left, top, width and height in pixels of the full frame."""

Ring = tuple[tuple[float, float], ...]
"""Corners of a polygon, x and y in pixels of the full frame."""


class ReviewFileError(ValueError):
    """A file is not in the tool's format; `problems` has a message for each reason.

    `frames`: the frames that could be read, so that their problems can be reported as well.
    """

    def __init__(self, problems: Iterable[str], frames: Iterable[Returned] = ()) -> None:
        self.problems = list(problems)
        self.frames = list(frames)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True)
class ReviewedShape:
    """An object in an annotation tool; `annotation_id` is None for a new one.

    Its area is that of the polygons `rings`, or of `mask_rle` (COCO's compressed run lengths), or else the box.
    """

    category: str
    box: Box
    annotation_id: str | None = None
    rings: tuple[Ring, ...] = ()
    mask_rle: str | None = None
    track_id: int | None = None
    text: str | None = None
    note: str | None = None


@dataclass(frozen=True)
class Returned:
    """A reviewed frame with all objects that are on it after the review.

    `place` is its location in the file, for messages, and `name` the image's file name. `size` is width and height in
    pixels, if the file has them.
    """

    place: str
    name: str
    shapes: tuple[ReviewedShape, ...]
    size: tuple[int, int] | None = None
    reviewer: str | None = None
    reviewed_ns: int | None = None
    note: str | None = None


@dataclass(frozen=True)
class PictureName:
    """The parts of an image's file name: folders, frame number and digits of the content hash."""

    folder: str
    number: int
    hash: str


def picture_name(stream_id: str, number: int, content_hash: str, suffix: str) -> str:
    """Return the file name of a frame in an annotation tool."""
    return f"{stream_id}/{number:08d}-{content_hash[:HASH_DIGITS]}{suffix}"


def parse_name(name: str) -> PictureName | None:
    """Return the parts of a name from `picture_name`, with any prefix added by a tool; None for other names."""
    found = _NAME.search(name)
    return PictureName(found["folder"] or "", int(found["number"]), found["hash"]) if found else None


def rings_of(each: dict[str, Any], width: int, height: int) -> tuple[Ring, ...]:
    """Return the outline of an object's mask, one polygon that joins its parts; () for an object without a mask."""
    if each["mask_rle"] is None:
        return ()
    points = outline(mask_of(each, width, height))
    return (tuple((float(x), float(y)) for x, y in points),) if len(points) else ()


def filled(rings: Sequence[Ring], width: int, height: int) -> npt.NDArray[np.uint8]:
    """Return the pixels whose centres are inside polygons, shape (height, width), uint8, 0 or 1.

    A centre on a left or top border is inside, one on a right or bottom border is not.
    """
    mask = np.zeros((height, width), np.uint8)
    for ring in rings:
        mask |= _inside(np.asarray(ring, np.float64), width, height)
    return mask


def _inside(ring: npt.NDArray[np.float64], width: int, height: int) -> npt.NDArray[np.uint8]:
    crossed = np.zeros((height, width + 1), np.int64)
    for one, other in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        # A line that leads there and back crosses rows twice at exactly the same positions, which cancels out.
        (left, top), (right, bottom) = sorted((one, other), key=lambda point: (point[1], point[0]))
        first, end = (math.ceil(min(max(y - 0.5, 0), height)) for y in (top, bottom))
        rows = np.arange(first, end)
        if not len(rows):
            continue
        x = left + (rows + 0.5 - top) * ((right - left) / (bottom - top))
        np.add.at(crossed, (rows, np.ceil(np.clip(x - 0.5, 0, width)).astype(np.int64)), 1)
    return (np.cumsum(crossed, axis=1)[:, :-1] % 2).astype(np.uint8)


def traced(rings: Sequence[Ring], width: int, height: int) -> npt.NDArray[np.uint8]:
    """Return the pixels enclosed by outlines from `rings_of`, shape (height, width), uint8, 0 or 1.

    Such outlines run through the centres of the outermost pixels, which are included.
    """
    mask = np.zeros((height, width), np.uint8)
    for part in (part for ring in rings for part in _parts(ring)):
        cv2.fillPoly(mask, [np.rint(np.asarray(part) - 0.5).astype(np.int32)], (1,))
    return mask


def _parts(ring: Ring) -> Iterator[Ring]:
    """Yield the loops of a polygon, without the lines that join them."""
    path: list[tuple[float, float]] = []
    for x, y in ring:
        point = (round(x, 2), round(y, 2))
        if point in path:
            at = path.index(point)
            if len(path) - at > 2:
                yield tuple(path[at:])
            del path[at + 1 :]
        else:
            path.append(point)
    if len(path) > 2:
        yield tuple(path)


def box_around(rings: Sequence[Ring]) -> Box:
    """Return the bounding box of polygons."""
    points = np.concatenate([np.asarray(ring, np.float64) for ring in rings])
    low, high = points.min(axis=0), points.max(axis=0)
    return float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])


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


def follows(rings: Sequence[Ring], own: Sequence[Ring]) -> bool:
    """Return whether most points are those of an outline from `rings_of`, so that the polygons are an edit of it."""
    known = {(math.floor(x), math.floor(y)) for ring in own for x, y in ring}
    points = [point for ring in rings for point in ring]
    kept = sum(
        (math.floor(x), math.floor(y)) in known and max(abs(x % 1 - 0.5), abs(y % 1 - 0.5)) <= TOLERANCE_PX
        for x, y in points
    )
    return 2 * kept > len(points)


def time_ns(text: str | None) -> int | None:
    """Return a tool's time (ISO 8601, UTC without a zone) in ns since 1970, or None if missing or invalid."""
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    if moment is None:
        return None
    zoned = moment if moment.tzinfo else datetime.fromisoformat(f"{text}+00:00")
    return int(zoned.timestamp() * 1_000_000) * 1000


def explained(error: ValidationError, names: Sequence[str] = ()) -> list[str]:
    """Return a message for each error of a schema; `names` are put before the locations."""
    lines = []
    for each in error.errors(include_url=False):
        place = ".".join(str(part + 1) if isinstance(part, int) else part for part in each["loc"])
        value = repr(each["input"])
        shown = value if len(value) <= 60 else f"{value[:57]}…"
        lines.append(f"{' '.join([*names, place])}: {each['msg'][0].lower()}{each['msg'][1:]}, found {shown}")
    return lines
