"""Synthetic camera stream with known defects: the sample of `winnow demo`, and ground truth for tests.

A camera flies over a textured ground. Frames are a function of parameters and frame number alone, so that the stream is
the same on every machine and in any order of access.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
Box = tuple[int, int, int, int]
Kind = Literal["moving", "idle", "visited", "dark", "blurred", "overexposed", "exact", "near", "gap"]

TIMELINE: tuple[tuple[Kind, int], ...] = (
    ("moving", 90),
    ("idle", 60),
    ("moving", 40),
    ("dark", 30),
    ("moving", 30),
    ("blurred", 30),
    ("moving", 30),
    ("overexposed", 30),
    ("moving", 40),
    ("exact", 8),
    ("near", 8),
    ("moving", 10),
    ("gap", 10),
    ("moving", 44),
)
"""The segments of the stream: what happens, and for how many frame numbers."""

_GROUND_SIDES = 3
_SPEED = 0.17
_SLOPE = 0.6180339887
_FIRST_REPEATED = 3
_REPEAT_STEP = 5
_EMPTY = 10
_VISITOR = (70, 235, 250)


@dataclass(frozen=True)
class Planted:
    """The ground truth of a sample, by frame number; intervals are inclusive.

    `exact` and `near` map a duplicate to the frame that it repeats. During `visited` intervals the camera stands still,
    and `visitors` gives the box of an object that passes by, as x, y, width and height in pixels.
    """

    n_files: int
    idle: list[tuple[int, int]] = field(default_factory=list)
    gaps: list[tuple[int, int]] = field(default_factory=list)
    dark: set[int] = field(default_factory=set)
    blurry: set[int] = field(default_factory=set)
    overexposed: set[int] = field(default_factory=set)
    exact: dict[int, int] = field(default_factory=dict)
    near: dict[int, int] = field(default_factory=dict)
    corrupt: set[int] = field(default_factory=set)
    visited: list[tuple[int, int]] = field(default_factory=list)
    visitors: dict[int, Box] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """A synthetic stream of JPEG frames of the given size in pixels.

    `timeline` gives its segments. If `broken`, two frames of the last segment are corrupt: the third is truncated and
    the fifth is empty.
    """

    width: int = 1280
    height: int = 720
    seed: int = 7
    timeline: tuple[tuple[Kind, int], ...] = TIMELINE
    broken: bool = True
    jpeg_quality: int = 88

    @cached_property
    def kinds(self) -> list[Kind]:
        """Return the kind of segment of each frame number."""
        return [kind for kind, n in self.timeline for _ in range(n)]

    @cached_property
    def planted(self) -> Planted:
        """Return the ground truth of the sample."""
        by_kind: dict[str, list[int]] = {}
        for index, kind in enumerate(self.kinds):
            by_kind.setdefault(kind, []).append(index)
        originals = [
            self._original(rank) for rank in range(len(by_kind.get("exact", ())) + len(by_kind.get("near", ())))
        ]
        n_exact = len(by_kind.get("exact", ()))
        visited = _intervals(by_kind.get("visited", []))
        return Planted(
            n_files=len(self.kinds) - len(by_kind.get("gap", ())),
            idle=_intervals(by_kind.get("idle", [])),
            gaps=_intervals(by_kind.get("gap", [])),
            dark=set(by_kind.get("dark", ())),
            blurry=set(by_kind.get("blurred", ())),
            overexposed=set(by_kind.get("overexposed", ())),
            exact=dict(zip(by_kind.get("exact", ()), originals[:n_exact], strict=True)),
            near=dict(zip(by_kind.get("near", ()), originals[n_exact:], strict=True)),
            visited=visited,
            visitors=self._visitors(visited),
            corrupt={self._last_start + 2, self._last_start + 4} if self.broken else set(),
        )

    def files(self) -> Iterator[tuple[int, bytes]]:
        """Yield number and bytes of every frame's file, in order; numbers in a gap are skipped."""
        for index, kind in enumerate(self.kinds):
            if kind != "gap":
                yield index, self.file(index)

    def file(self, index: int) -> bytes:
        """Return the bytes of a frame's JPEG file."""
        if index in self.planted.exact:
            return self.file(self.planted.exact[index])
        data = encode(self.picture(index), 70 if index in self.planted.near else self.jpeg_quality)
        if index in self.planted.corrupt:
            return data[: len(data) // 2] if index == min(self.planted.corrupt) else b""
        return data

    def picture(self, index: int) -> Picture:
        """Return a frame as an array of shape (height, width, 3), uint8, BGR."""
        kind = self.kinds[index]
        if kind == "near":
            return self._altered(self.picture(self.planted.near[index]))
        if kind == "idle":
            return self._idle(index)
        if kind == "visited":
            return self._visited(index)
        return self._exposed(self._view(self.planted.exact.get(index, index)), index)

    def _exposed(self, view: Picture, index: int) -> Picture:
        """Apply the optical defects of this frame number (dark, blurred, overexposed) to a view."""
        kind = self.kinds[index]
        if kind == "dark":
            return self._noisy(view.astype(np.float32) * np.float32(0.07), index, 1.5)
        if kind == "blurred":
            return cv2.GaussianBlur(view, (0, 0), self.width / 160)
        if kind == "overexposed":
            return self._noisy(view.astype(np.float32) * np.float32(1.6) + np.float32(150), index, 1.0)
        return view

    @cached_property
    def _last_start(self) -> int:
        return len(self.kinds) - self.timeline[-1][1]

    def _original(self, rank: int) -> int:
        """Return the frame of the first segment that the rank-th duplicate repeats."""
        return (_FIRST_REPEATED + rank * _REPEAT_STEP) % max(1, self.timeline[0][1])

    def _idle(self, index: int) -> Picture:
        """Return a frame of a static camera, with sensor noise and a slowly varying gain."""
        start = _first_of(self.planted.idle, index)
        gain = np.float32(1 + 0.04 * np.sin((index - start) / 9))
        return self._noisy(self._view(start).astype(np.float32) * gain, index, 2.0)

    def _visited(self, index: int) -> Picture:
        """Return a frame of a static camera before which a bright object passes after a while."""
        view = self._view(_first_of(self.planted.visited, index))
        if index in self.planted.visitors:
            x, y, width, height = self.planted.visitors[index]
            view[y : y + height, x : x + width] = _VISITOR
        return self._noisy(view.astype(np.float32), index, 2.0)

    def _visitors(self, stretches: list[tuple[int, int]]) -> dict[int, Box]:
        """Return the boxes of an object that crosses the image to the right, from an interval's eleventh frame on."""
        width, height = self.width * 4 // 25, self.height * 4 // 25
        boxes = {}
        for first, last in stretches:
            arrival = first + _EMPTY
            for index in range(arrival, last + 1):
                x = (self.width - width) * (index - arrival) // max(1, last - arrival)
                boxes[index] = (x, self.height // 2, width, height)
        return boxes

    def _noisy(self, picture: npt.NDArray[np.float32], index: int, sigma: float) -> Picture:
        noise = np.random.default_rng((self.seed, index)).normal(0, sigma, picture.shape[:2]).astype(np.float32)
        return np.clip(picture + noise[..., None], 0, 255).astype(np.uint8)

    def _altered(self, picture: Picture) -> Picture:
        """Return a near duplicate of an image: edges cropped by a pixel or two, and slightly brighter."""
        edge = max(1, self.width // 640)
        cropped = picture[edge:-edge, edge:-edge]
        return np.clip(
            np.pad(cropped, ((edge, edge), (edge, edge), (0, 0)), "edge").astype(np.int16) + 6, 0, 255
        ).astype(np.uint8)

    def _view(self, index: int) -> Picture:
        """Return the camera's view at a frame number: a window on the ground, which is periodic in both directions."""
        side = _GROUND_SIDES * self.width
        step = _SPEED * self.width
        left, top = int(index * step) % side, int(index * step * _SLOPE) % side
        return self._ground[top : top + self.height, left : left + self.width].copy()

    @cached_property
    def _ground(self) -> Picture:
        """Paint the ground: noise at all scales, with fields, roofs and roads on it.

        It is padded periodically, to the right and below, by the size of a view.
        """
        rng = np.random.default_rng(self.seed)
        side = _GROUND_SIDES * self.width
        relief = np.zeros((side, side), np.float32)
        for cells in (6, 12, 24, 48, 96, 192):
            relief += _smooth_noise(rng, cells, side) / np.float32(cells**0.5)
        relief = (relief - relief.mean()) / relief.std()
        tint = np.array((0.75, 1.0, 0.9), np.float32)
        ground = np.clip((118 + 34 * relief)[..., None] * tint, 25, 225).astype(np.uint8)
        for _ in range(260):
            self._paint_object(ground, rng)
        grain = rng.normal(0, min(9.0, self.width / 60), (side, side)).astype(np.int16)
        painted = np.clip(ground + grain[..., None], 0, 255).astype(np.uint8)
        return np.pad(painted, ((0, self.height), (0, self.width), (0, 0)), "wrap")

    def _paint_object(self, ground: Picture, rng: np.random.Generator) -> None:
        side = len(ground)
        centre = tuple(rng.integers(0, side, 2).tolist())
        size = tuple((rng.uniform(0.02, 0.16, 2) * self.width).tolist())
        colour = tuple(rng.integers(30, 225, 3).tolist())
        corners = cv2.boxPoints((centre, size, float(rng.uniform(0, 180)))).astype(np.int32)
        cv2.fillConvexPoly(ground, corners, colour, cv2.LINE_AA)


def encode(picture: Picture, quality: int) -> bytes:
    """Return a BGR image as JPEG."""
    return bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])


def _smooth_noise(rng: np.random.Generator, cells: int, side: int) -> npt.NDArray[np.float32]:
    """Return periodic smooth noise, shape (side, side), with `cells` bumps across."""
    coarse = rng.normal(0, 1, (cells, cells)).astype(np.float32)
    padded = np.pad(coarse, 2, mode="wrap")
    scale = side / cells
    wide = cv2.resize(padded, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    edge = round(2 * scale)
    return wide[edge : edge + side, edge : edge + side]


def _first_of(intervals: list[tuple[int, int]], index: int) -> int:
    """Return the start of the interval that contains a number."""
    return next(first for first, last in intervals if first <= index <= last)


def _intervals(indices: list[int]) -> list[tuple[int, int]]:
    """Return runs of consecutive numbers as (first, last), both inclusive."""
    if not indices:
        return []
    array = np.array(indices)
    breaks = np.flatnonzero(np.diff(array) > 1)
    starts, ends = np.concatenate([[0], breaks + 1]), np.concatenate([breaks, [len(array) - 1]])
    return [(int(array[a]), int(array[b])) for a, b in zip(starts, ends, strict=True)]
