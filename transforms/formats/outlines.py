"""Outlines of masks along the edges of pixels, their inverse, and turned boxes.

A pixel (x, y) covers the square from (x, y) to (x + 1, y + 1), as boxes have it: a mask of 10x10 pixels has an outline
of 10x10, and the pixels whose centres are inside that outline are the mask again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]
"""Corners of a polygon, x and y in pixels, shape (N, 2), float64."""

Mask = npt.NDArray[np.uint8]
"""Pixels of an object, shape (height, width), uint8, 0 or 1."""

_CORNERS = 4


@dataclass(frozen=True)
class Outlines:
    """The outlines of a mask: `parts` around its pixels, clockwise on the screen, and `holes` in them, the other way.

    Pixels that touch at a corner belong to one part. All coordinates are whole numbers.
    """

    parts: tuple[Points, ...]
    holes: tuple[Points, ...]

    @property
    def is_simple(self) -> bool:
        """Return whether a single polygon says all of the mask."""
        return len(self.parts) == 1 and not self.holes

    @property
    def joined(self) -> Points:
        """Return the parts as one polygon, which has their holes filled; of shape (0, 2) for no parts.

        Parts are joined by lines of no width, there and back, which enclose nothing.
        """
        if len(self.parts) <= 1:
            return self.parts[0] if self.parts else np.empty((0, 2))
        closed = [np.concatenate([ring, ring[:1]]) for ring in self.parts]
        return np.concatenate([*closed, *(ring[:1] for ring in self.parts[-2::-1])])


def outlines(mask: Mask) -> Outlines:
    """Return the outlines of a mask, from top to bottom.

    Edges between foreground and background, with the foreground on their right, are linked end to end. Where four of
    them meet at a point, the path turns left, on to the pixel that touches at the corner.
    """
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return Outlines((), ())
    top, left = int(rows[0]), int(columns[0])
    padded = np.pad(mask[top : rows[-1] + 1, left : columns[-1] + 1].astype(np.int8), 1)
    y, x, ahead = _runs(np.diff(padded, axis=0)[:, 1:-1])
    right_to_left = ahead < 0
    level, low, rise = _runs(np.diff(padded, axis=1)[1:-1].T)
    down = rise < 0
    across = _Edges(x[:, 0], x[:, 1], y, right_to_left)
    along = _Edges(low[:, 0], low[:, 1], level, ~down)
    # Keys of points: (x, y) and which way the edge that begins there leads, 1 towards 0.
    width = padded.shape[1]
    starts_across = (across.at * width + across.start) * 2 + across.backwards
    starts_along = (along.start * width + along.at) * 2 + along.backwards
    # Rightwards turns left to up, leftwards to down; up turns left to leftwards, down to rightwards.
    after_across = _following((across.at * width + across.end) * 2, ~across.backwards, starts_along)
    after_along = _following((along.end * width + along.at) * 2, along.backwards, starts_across)
    following = after_along[after_across]
    points = np.stack([across.start + left, across.at + top], axis=1).astype(np.float64)
    ends = np.stack([across.end + left, across.at + top], axis=1).astype(np.float64)
    parts: list[Points] = []
    holes: list[Points] = []
    for loop in _loops(following):
        ring = np.stack([points[loop], ends[loop]], axis=1).reshape(-1, 2)
        (parts if _doubled_area(ring) > 0 else holes).append(ring)
    return Outlines(tuple(parts), tuple(holes))


@dataclass(frozen=True)
class _Edges:
    """Straight edges from `low` to `high` on the line `at`; `backwards` where they lead towards 0."""

    low: npt.NDArray[np.int64]
    high: npt.NDArray[np.int64]
    at: npt.NDArray[np.int64]
    backwards: npt.NDArray[np.bool_]

    @property
    def start(self) -> npt.NDArray[np.int64]:
        return np.where(self.backwards, self.high, self.low)

    @property
    def end(self) -> npt.NDArray[np.int64]:
        return np.where(self.backwards, self.low, self.high)


def _runs(steps: npt.NDArray[np.int8]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int8]]:
    """Return where each row of steps (-1, 0 or 1) has equal ones side by side: row, begin and end (N, 2), and step."""
    padded = np.pad(steps, ((0, 0), (1, 1)))
    change = np.diff(padded, axis=1) != 0
    row, begin = np.nonzero(change & (padded[:, 1:] != 0))
    _, end = np.nonzero(change & (padded[:, :-1] != 0))
    return row, np.stack([begin, end], axis=1), steps[row, begin]


def _following(
    ends: npt.NDArray[np.int64], backwards: npt.NDArray[np.bool_], starts: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return for each end the edge that begins there, the one that leads `backwards` as wanted where there are two."""
    order = np.argsort(starts)
    sorted_ = starts[order]
    found = np.searchsorted(sorted_, ends + backwards)
    found[found == len(sorted_)] = 0
    other = np.searchsorted(sorted_, ends + ~backwards)
    return order[np.where(sorted_[found] == ends + backwards, found, other)]


def _loops(following: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    left = following.tolist()
    loops = []
    for first in range(len(left)):
        loop = []
        at = first
        while left[at] >= 0:
            loop.append(at)
            left[at], at = -1, left[at]
        if loop:
            loops.append(np.array(loop))
    return loops


def _doubled_area(ring: Points) -> float:
    x, y = ring.T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))


def filled(rings: Sequence[Sequence[tuple[float, float]] | Points], width: int, height: int) -> Mask:
    """Return the pixels whose centres are inside polygons, each filled by the even-odd rule.

    A centre on a left or top border is inside, one on a right or bottom border is not.
    """
    mask = np.zeros((height, width), np.uint8)
    for ring in rings:
        _fill(mask, np.asarray(ring, np.float64))
    return mask


def encoded(mask: Mask) -> str:
    """Return a mask as COCO's compressed run lengths."""
    from pycocotools import mask as masks

    return str(masks.encode(np.asfortranarray(mask))["counts"].decode())


def _fill(mask: Mask, ring: Points) -> None:
    height, width = mask.shape
    one, other = ring, np.roll(ring, -1, axis=0)
    # A line that leads there and back crosses rows twice at exactly the same positions, which cancels out.
    swaps = (one[:, 1] > other[:, 1]) | ((one[:, 1] == other[:, 1]) & (one[:, 0] > other[:, 0]))
    upper, lower = np.where(swaps[:, None], other, one), np.where(swaps[:, None], one, other)
    first, end = (np.ceil(np.clip(point[:, 1] - 0.5, 0, height)).astype(np.int64) for point in (upper, lower))
    n = end - first
    edge = np.repeat(np.arange(len(ring)), n)
    if not len(edge):
        return
    rows = np.arange(len(edge)) - np.repeat(np.cumsum(n) - n, n) + first[edge]
    slope = (lower[edge, 0] - upper[edge, 0]) / (lower[edge, 1] - upper[edge, 1])
    x = upper[edge, 0] + (rows + 0.5 - upper[edge, 1]) * slope
    columns = np.ceil(np.clip(x - 0.5, 0, width)).astype(np.int64)
    top, left = int(rows.min()), int(columns.min())
    crossed = np.zeros((int(rows.max()) + 1 - top, int(columns.max()) + 1 - left), np.int64)
    np.add.at(crossed, (rows - top, columns - left), 1)
    inside = (np.cumsum(crossed, axis=1)[:, :-1] % 2).astype(np.uint8)
    mask[top : top + inside.shape[0], left : left + inside.shape[1]] |= inside


def turned_corners(box: tuple[float, float, float, float], degrees: float) -> Points:
    """Return the corners of a box (left, top, width, height) turned clockwise about its centre, shape (4, 2).

    They are in the order upper left, upper right, lower right, lower left of the box before it is turned.
    """
    left, top, width, height = box
    angle = math.radians(degrees)
    cosine, sine = math.cos(angle), math.sin(angle)
    across, down = np.array([cosine, sine]) * width / 2, np.array([-sine, cosine]) * height / 2
    centre = np.array([left + width / 2, top + height / 2])
    return np.stack([centre - across - down, centre + across - down, centre + across + down, centre - across + down])


def smallest_turned_box(points: Points) -> Points:
    """Return the corners of the smallest turned box around N points, shape (4, 2), float64."""
    return np.asarray(cv2.boxPoints(cv2.minAreaRect(points.astype(np.float32))), np.float64).reshape(_CORNERS, 2)
