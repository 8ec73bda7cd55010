"""YOLO labels, read: a text file per image, with coordinates relative to its size, 0..1."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from transforms.core.plain_yaml import MOST_VALUES, YamlError, read_yaml
from transforms.formats.outlines import Points, smallest_turned_box
from transforms.formats.reviewing.shapes import Box, Returned, ReviewedShape, ReviewFile, ReviewFileError, box_around
from transforms.formats.reviewing.values import one_line_each

_BOX, _SCORED_BOX = 5, 6
_LEAST_POLYGON = 7
_CORNERS, _LEAST_CORNERS = 4, 3
_SHAPE, _SHOWN = 2, 5
_SQUARE_PX = 1.0
"""How far a corner of a turned box may be from where it belongs, since labels have few digits."""


class _UnknownClassError(ValueError):
    """A line has the number of no class."""


@dataclass(frozen=True)
class YoloClasses:
    """The classes of a dataset, in the order of their numbers, and how many numbers of keypoints follow each box."""

    names: Sequence[str]
    n_keypoints: int = 0


def read_classes(data: bytes, place: str) -> YoloClasses:
    """Return the classes that `data.yaml`, or a file with one on each line, declares.

    Raises `ReviewFileError` if there are none, and for numbers without a name.
    """
    text = data.decode("utf-8-sig", "replace")
    if not place.endswith((".yaml", ".yml")):
        return YoloClasses([line.strip() for line in text.splitlines() if line.strip()])
    try:
        found = read_yaml(text)
    except YamlError as error:
        raise ReviewFileError([f"{place}: expected YAML: {' '.join(str(error).split())}"]) from error
    given = found.get("names") if isinstance(found, dict) else None
    if isinstance(given, list):
        given = dict(enumerate(given))
    if not isinstance(given, dict) or not all(type(number) is int and number >= 0 for number in given):
        raise ReviewFileError([f"{place}: expected `names`, the classes by number; found none"])
    if problems := [f"{place}: names: {text}" for text in _wrong_with(given)]:
        raise ReviewFileError(problems)
    names = [str(given[number]) for number in range(len(given))]
    return YoloClasses(names, _n_keypoints(found.get("kpt_shape"), place))


def _wrong_with(names: Mapping[int, Any]) -> Iterator[str]:
    """Yield what is wrong with the classes of a `data.yaml`, by their numbers."""
    gaps = sorted(set(range(len(names))) - names.keys())
    if gaps:
        some = ", ".join(map(str, gaps[:_SHOWN]))
        yield f"expected a name for each class from 0 to {max(names)}, found none for {some}"
    for number, name in names.items():
        # YAML reads no, off and ~ as values that are not text; a number is as good a name as another.
        if not isinstance(name, str) and type(name) is not int:
            yield f"class {number}: expected text, found {name!r:.60}; quote it, as in 'no'"


def _n_keypoints(shape: Any, place: str) -> int:
    """Return how many numbers of keypoints each line has, as `kpt_shape`, their number and dimensions, says."""
    if shape is None:
        return 0
    numbers = shape if isinstance(shape, list) else []
    if len(numbers) != _SHAPE or not all(type(n) is int and 0 < n < MOST_VALUES for n in numbers):
        raise ReviewFileError(
            [f"{place}: kpt_shape: expected [points, dimensions], as in [17, 3]; found {shape!r:.60}"]
        )
    return int(numbers[0] * numbers[1])


def read_yolo(images: Mapping[str, tuple[str, bytes | None]], classes: YoloClasses) -> ReviewFile:
    """Return a frame for each image, with shapes in shares of its width and height, for `in_pixels`.

    `images` has for each name the path of its label file and its content, None for an image without one, which has
    no objects. A line is the number of a class, and a box (centre, width, height) or the corners of a polygon, each
    with a score at the end or without one; in a dataset with keypoints, a box and these, which are left out.
    """
    file = ReviewFile(classes=list(classes.names))
    unknown: dict[str, list[str]] = {}
    for name, (place, data) in images.items():
        shapes = []
        for number, line in enumerate((data or b"").decode("utf-8-sig", "replace").splitlines(), 1):
            words = line.split()
            if not words:
                continue
            if classes.n_keypoints and len(words) > _SCORED_BOX:
                if len(words) != _BOX + classes.n_keypoints:
                    file.problems.append(
                        f"{place}, line {number}: expected {_BOX + classes.n_keypoints} numbers, with those of its "
                        f"keypoints; found {len(words)}"
                    )
                    continue
                file.unsupported.append(f"{place}, line {number}: keypoints")
                words = words[:_BOX]
            try:
                shapes.append(_shape(words, classes.names, f"line {number}"))
            except _UnknownClassError as error:
                unknown.setdefault(str(error), []).append(f"{place}, line {number}")
            except ValueError as error:
                file.problems.append(f"{place}, line {number}: {error}")
        file.frames.append(Returned(place, name, tuple(shapes)))
    file.problems += one_line_each(unknown)
    return file


def _shape(words: Sequence[str], names: Sequence[str], place: str) -> ReviewedShape:
    try:
        values = [float(word) for word in words]
    except ValueError:
        values = [math.nan]
    if not all(map(math.isfinite, values)) or not values[0].is_integer():
        raise ValueError(f"expected the number of a class, and numbers, found {' '.join(words)[:60]!r}")
    if not 0 <= values[0] < len(names):
        raise _UnknownClassError(f"expected a class from 0 to {len(names) - 1}, found {words[0]}")
    score = (
        values.pop() if len(values) == _SCORED_BOX or (len(values) > _LEAST_POLYGON and not len(values) % 2) else None
    )
    if len(values) != _BOX and len(values) < _LEAST_POLYGON:
        raise ValueError(f"expected a class and four numbers, or corners of a polygon; found {len(words)} numbers")
    common: dict[str, Any] = {"place": place, "score": score}
    category = names[int(values[0])]
    if len(values) == _BOX:
        x, y, width, height = values[1:]
        return ReviewedShape(category, (x - width / 2, y - height / 2, width, height), **common)
    ring = tuple(zip(values[1::2], values[2::2], strict=True))
    if ring[0] == ring[-1] and len(ring) > _LEAST_CORNERS:
        # Some programs repeat the first corner at the end.
        ring = ring[:-1]
    return ReviewedShape(category, box_around([ring]), rings=(ring,), **common)


def in_pixels(frame: Returned, width: int, height: int) -> Returned:
    """Return a frame of `read_yolo` with its shapes in pixels; a polygon that is an upright box becomes one."""
    return replace(frame, shapes=tuple(_scaled(shape, width, height) for shape in frame.shapes))


def _scaled(shape: ReviewedShape, width: int, height: int) -> ReviewedShape:
    left, top, across, down = shape.box
    box: Box = (left * width, top * height, across * width, down * height)
    rings = tuple(tuple((x * width, y * height) for x, y in ring) for ring in shape.rings)
    if len(rings) == 1 and _is_upright(rings[0], box):
        rings = ()
    return replace(shape, box=box, rings=rings)


def _is_upright(ring: Sequence[tuple[float, float]], box: Box) -> bool:
    left, top, right, bottom = box[0], box[1], box[0] + box[2], box[1] + box[3]
    corners = {(left, top), (right, top), (right, bottom), (left, bottom)}
    near = {min(corners, key=lambda corner: math.dist(corner, point)) for point in ring}
    apart = [min(math.dist(corner, point) for corner in corners) for point in ring]
    return len(ring) == _CORNERS and near == corners and max(apart) < 0.01


def are_turned_boxes(frames: Sequence[Returned]) -> bool:
    """Return whether all polygons, in pixels, are rectangles: then they are turned boxes, and no outlines."""
    rings = [shape.rings[0] for frame in frames for shape in frame.shapes if shape.rings]
    return bool(rings) and all(_turned(ring) is not None for ring in rings)


def with_turned_boxes(frame: Returned) -> Returned:
    """Return a frame, in pixels, with a turned box for each polygon: the smallest around one that is no rectangle."""
    return replace(frame, shapes=tuple(_as_turned(shape) for shape in frame.shapes))


def _as_turned(shape: ReviewedShape) -> ReviewedShape:
    if not shape.rings:
        return shape
    around = smallest_turned_box(np.asarray(shape.rings[0], np.float64))
    found = _turned(shape.rings[0]) or _turned([(float(x), float(y)) for x, y in around])
    return shape if found is None else replace(shape, box=found[0], rotation=found[1], rings=())


def _turned(ring: Sequence[tuple[float, float]]) -> tuple[Box, float] | None:
    """Return the box, and how far it is turned clockwise, whose corners these are in turn; None for others."""
    points = np.asarray(ring, np.float64)
    if len(points) != _CORNERS:
        return None
    if _doubled_area(points) < 0:
        # Corners that run anticlockwise are those of the same box from the last to the first.
        points = points[[0, 3, 2, 1]]
    first, second = points[1] - points[0], points[2] - points[1]
    width, height = float(np.hypot(*first)), float(np.hypot(*second))
    middle = points.mean(axis=0)
    if not width or not height or np.abs(points[:2] + points[2:] - 2 * middle).max() > 2 * _SQUARE_PX:
        return None
    if abs(float(first @ second)) / max(width, height) > 2 * _SQUARE_PX:
        return None
    degrees = math.degrees(math.atan2(first[1], first[0])) % 360
    return (float(middle[0] - width / 2), float(middle[1] - height / 2), width, height), degrees


def _doubled_area(points: Points) -> float:
    x, y = points.T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))
