"""What goes to an annotation tool and what comes back, whatever the tool."""

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
"""Tools round: what has moved by no more than this has not been moved."""

_NAME = re.compile(
    rf"(?:(?P<folder>.*)/)?(?:[^/]*-)?(?P<number>\d+)-(?P<hash>[0-9a-f]{{{HASH_DIGITS}}})\.[A-Za-z0-9]+$"
)

Box = tuple[float, float, float, float]
"""Left and upper edge, width and height, in pixels of the full frame."""

Ring = tuple[tuple[float, float], ...]
"""Corners of a polygon in pixels of the full frame."""


class ReviewFileError(ValueError):
    """A file is not what the tool writes; `problems` has a line for each reason.

    `frames`: what could be read all the same, so that what is wrong with that can be said along with it.
    """

    def __init__(self, problems: Iterable[str], frames: Iterable[Returned] = ()) -> None:
        self.problems = list(problems)
        self.frames = list(frames)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True)
class ReviewedShape:
    """An object as a tool has it; `annotation_id` None where somebody has drawn it there.

    With `rings` it is the area within them, with `mask_rle` that of COCO's compressed run lengths; else a box.
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
    """A frame that somebody has looked at: all the objects that are on it then.

    `place` says where in the file it is, `name` is the picture's. `size` is width and height where the file has them.
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
    """What a picture's file name says: number and content of the frame, and the folders that it is in."""

    folder: str
    number: int
    hash: str


def picture_name(stream_id: str, number: int, content_hash: str, suffix: str) -> str:
    """Return the file name under which a frame goes to a tool."""
    return f"{stream_id}/{number:08d}-{content_hash[:HASH_DIGITS]}{suffix}"


def parse_name(name: str) -> PictureName | None:
    """Return what a file name that `picture_name` made says, whatever a tool has put before it; else None."""
    found = _NAME.search(name)
    return PictureName(found["folder"] or "", int(found["number"]), found["hash"]) if found else None


def rings_of(each: dict[str, Any], width: int, height: int) -> tuple[Ring, ...]:
    """Return the outline of an object's mask, one ring that joins its parts; nothing for a box alone."""
    if each["mask_rle"] is None:
        return ()
    points = outline(mask_of(each, width, height))
    return (tuple((float(x), float(y)) for x, y in points),) if len(points) else ()


def filled(rings: Sequence[Ring], width: int, height: int) -> npt.NDArray[np.uint8]:
    """Return the pixels whose middles lie within polygons, shape (height, width), 0 or 1.

    A middle on a left or upper border lies within, one on a right or lower border does not.
    """
    mask = np.zeros((height, width), np.uint8)
    for ring in rings:
        mask |= _inside(np.asarray(ring, np.float64), width, height)
    return mask


def _inside(ring: npt.NDArray[np.float64], width: int, height: int) -> npt.NDArray[np.uint8]:
    crossed = np.zeros((height, width + 1), np.int64)
    for one, other in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        # Of a line that leads there and back, both ways cross rows at the very same places, and nothing is left of it.
        (left, top), (right, bottom) = sorted((one, other), key=lambda point: (point[1], point[0]))
        first, end = (math.ceil(min(max(y - 0.5, 0), height)) for y in (top, bottom))
        rows = np.arange(first, end)
        if not len(rows):
            continue
        x = left + (rows + 0.5 - top) * ((right - left) / (bottom - top))
        np.add.at(crossed, (rows, np.ceil(np.clip(x - 0.5, 0, width)).astype(np.int64)), 1)
    return (np.cumsum(crossed, axis=1)[:, :-1] % 2).astype(np.uint8)


def traced(rings: Sequence[Ring], width: int, height: int) -> npt.NDArray[np.uint8]:
    """Return the pixels that outlines as `rings_of` makes them enclose, shape (height, width), 0 or 1.

    They run through the middles of the outermost pixels, which belong to them.
    """
    mask = np.zeros((height, width), np.uint8)
    for part in (part for ring in rings for part in _parts(ring)):
        cv2.fillPoly(mask, [np.rint(np.asarray(part) - 0.5).astype(np.int32)], (1,))
    return mask


def _parts(ring: Ring) -> Iterator[Ring]:
    """Yield the loops of a polygon, without the lines that lead from one to the next and back."""
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
    """Return the smallest box around polygons."""
    points = np.concatenate([np.asarray(ring, np.float64) for ring in rings])
    low, high = points.min(axis=0), points.max(axis=0)
    return float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])


def same_box(one: Box, other: Box) -> bool:
    """Say whether two boxes are one, but for what tools round."""
    edges = [(b[0], b[1], b[0] + b[2], b[1] + b[3]) for b in (one, other)]
    return all(abs(a - b) <= TOLERANCE_PX for a, b in zip(*edges, strict=True))


def same_rings(one: Sequence[Ring], other: Sequence[Ring]) -> bool:
    """Say whether polygons are the same, but for what tools round."""
    if [len(ring) for ring in one] != [len(ring) for ring in other]:
        return False
    pairs = zip([p for ring in one for p in ring], [p for ring in other for p in ring], strict=True)
    return all(math.dist(a, b) <= TOLERANCE_PX for a, b in pairs)


def follows(rings: Sequence[Ring], own: Sequence[Ring]) -> bool:
    """Say whether most points of polygons are those of an outline of `rings_of`, so that they are that one, edited."""
    known = {(math.floor(x), math.floor(y)) for ring in own for x, y in ring}
    points = [point for ring in rings for point in ring]
    kept = sum(
        (math.floor(x), math.floor(y)) in known and max(abs(x % 1 - 0.5), abs(y % 1 - 0.5)) <= TOLERANCE_PX
        for x, y in points
    )
    return 2 * kept > len(points)


def time_ns(text: str | None) -> int | None:
    """Return a time as tools write it (ISO 8601, UTC where no zone is named) in nanoseconds since 1970, or None."""
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    if moment is None:
        return None
    zoned = moment if moment.tzinfo else datetime.fromisoformat(f"{text}+00:00")
    return int(zoned.timestamp() * 1_000_000) * 1000


def explained(error: ValidationError, names: Sequence[str] = ()) -> list[str]:
    """Return a line for everything that a schema has found wrong; `names` say what the first places are."""
    lines = []
    for each in error.errors(include_url=False):
        place = ".".join(str(part + 1) if isinstance(part, int) else part for part in each["loc"])
        value = repr(each["input"])
        shown = value if len(value) <= 60 else f"{value[:57]}…"
        lines.append(f"{' '.join([*names, place])}: {each['msg'][0].lower()}{each['msg'][1:]}, found {shown}")
    return lines
