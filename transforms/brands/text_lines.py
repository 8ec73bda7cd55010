"""Places on a frame that may show a line of text or a logo: letters as strokes, joined into lines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Gt, Le

from transforms.frames.image import Gray

FloatArray = npt.NDArray[np.float32]
Probe = Callable[[str, npt.NDArray[np.generic]], None] | None
"""Called with the name and the array of each intermediate; it changes no result."""

_LOWEST, _HIGHEST = 7, 28
_KERNEL = 9
_MOST_BLOBS = 1500


@dataclass(frozen=True)
class EdgeParams:
    """Where on a frame text or logos may be.

    `contrast`: luma by which letters differ from what is around them.
    `min_letters`: fewest strokes of a line; letters that touch are one.
    `evenness`: highest deviation of the letters of a line in luma, as a share of their contrast.
    `alignment`: lowest share of the letters of a line that stand on its baseline, or end at its top.
    `max_lines`: the most lines of a frame, those of the highest scores.
    `emblem`: by how much a place that may show a logo has more edges than what is on its left and right.
    `max_emblems`: the most such places of a frame; 0 where no brand of the dictionary has a logo.
    """

    contrast: Annotated[float, Gt(0), Le(255)] = 28.0
    min_letters: Annotated[int, Ge(1), Le(100)] = 3
    evenness: Annotated[float, Gt(0), Le(10)] = 0.4
    alignment: Annotated[float, Ge(0), Le(1)] = 0.6
    max_lines: Annotated[int, Ge(1), Le(1000)] = 60
    emblem: Annotated[float, Ge(0), Le(1)] = 0.12
    max_emblems: Annotated[int, Ge(0), Le(1000)] = 8


class Lines(NamedTuple):
    """Lines on a frame: corners (N, 4, 2) in pixels, from the upper left one clockwise, and scores (N,), 0..1."""

    quads: FloatArray
    scores: FloatArray


class _Blobs(NamedTuple):
    """Connected strokes: left, top, width, height (N,), mean luma of them and of what is around them, and contrast."""

    x: FloatArray
    y: FloatArray
    w: FloatArray
    h: FloatArray
    luma: FloatArray
    around: FloatArray
    contrast: FloatArray


def find_lines(gray: Gray, params: EdgeParams, probe: Probe = None) -> Lines:
    """Return the lines of an (H, W) uint8 image.

    Strokes are what a top-hat (light on dark) or a black-hat (dark on light) leaves; at three scales, so that letters
    from 8 to 100 pixels high are found with one kernel.
    """
    quads: list[FloatArray] = []
    scores: list[float] = []
    for octave in range(3):
        scale = 2.0**octave
        small = gray
        if octave:
            size = (max(1, round(gray.shape[1] / scale)), max(1, round(gray.shape[0] / scale)))
            small = np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), np.uint8)
        for name, operation in (("light", cv2.MORPH_TOPHAT), ("dark", cv2.MORPH_BLACKHAT)):
            hat = cv2.morphologyEx(small, operation, np.ones((_KERNEL, _KERNEL), np.uint8))
            strokes = (hat > params.contrast).astype(np.uint8)
            if probe:
                probe(f"{name}_{octave}", hat)
                probe(f"{name}_strokes_{octave}", strokes * 255)
            found = _lines_of(_blobs(small, hat, strokes), params)
            quads += [quad * scale for quad in found.quads]
            scores += found.scores.tolist()
    return _best(quads, scores, params.max_lines)


def _blobs(gray: Gray, hat: Gray, strokes: Gray) -> _Blobs:
    n, labels, stats, _ = cv2.connectedComponentsWithStats(strokes, connectivity=8)
    w, h, area = (stats[:, at].astype(np.float32) for at in (cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT, cv2.CC_STAT_AREA))
    good = (h >= _LOWEST) & (h <= _HIGHEST) & (w >= 2) & (w <= 5 * h) & (area >= 0.15 * w * h)
    good[0] = False
    kept = np.flatnonzero(good)
    if not len(kept):
        return _Blobs(*(np.empty(0, np.float32) for _ in _Blobs._fields))
    number = np.full(n, -1, np.int64)
    number[kept] = np.arange(len(kept))
    of = number[labels[strokes > 0]]
    inside = of >= 0
    counts = np.bincount(of[inside], minlength=len(kept))
    luma, contrast = (
        (np.bincount(of[inside], weights=values[strokes > 0][inside], minlength=len(kept)) / counts).astype(np.float32)
        for values in (gray, hat)
    )
    strongest = np.argsort(-contrast, kind="stable")[:_MOST_BLOBS]
    x, y = stats[kept, cv2.CC_STAT_LEFT].astype(np.float32), stats[kept, cv2.CC_STAT_TOP].astype(np.float32)
    around = _around(gray, strokes, stats[kept])
    return _Blobs(*(values[strongest] for values in (x, y, w[kept], h[kept], luma, around, contrast)))


def _around(gray: Gray, strokes: Gray, boxes: npt.NDArray[np.int32]) -> FloatArray:
    """Return the mean luma of what is no stroke within two pixels of each box (x, y, w, h, …), shape (N,)."""
    wide = cv2.dilate(strokes, np.ones((3, 3), np.uint8)) > 0
    sums = cv2.integral(np.where(wide, 0, gray).astype(np.uint8)).astype(np.float64)
    counts = cv2.integral((~wide).astype(np.uint8)).astype(np.float64)
    left, top = np.maximum(boxes[:, 0] - 2, 0), np.maximum(boxes[:, 1] - 2, 0)
    right = np.minimum(boxes[:, 0] + boxes[:, 2] + 2, gray.shape[1])
    bottom = np.minimum(boxes[:, 1] + boxes[:, 3] + 2, gray.shape[0])

    def within(table: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]

    return (within(sums) / np.maximum(1, within(counts))).astype(np.float32)


def _lines_of(blobs: _Blobs, params: EdgeParams) -> Lines:
    quads, scores = [], []
    for members in [part for chain in _chains(blobs, params) for part in _parted(blobs, chain)]:
        line = _line(blobs, members, params)
        if line is not None:
            quads.append(line[0])
            scores.append(line[1])
    return Lines(np.array(quads, np.float32).reshape(-1, 4, 2), np.array(scores, np.float32))


def _chains(blobs: _Blobs, params: EdgeParams) -> list[npt.NDArray[np.int64]]:
    """Return the members of each line: every blob is joined to the next one on its right that goes with it."""
    n = len(blobs.x)
    if not n:
        return []
    order = np.argsort(blobs.x, kind="stable")
    x, y, w, h, luma, around, contrast = (values[order] for values in blobs)
    middle = y + h / 2
    following = np.full(n, -1, np.int64)
    for at in range(n):
        reach = x[at] + w[at] + 1.7 * h[at]
        last = int(np.searchsorted(x, reach, side="right"))
        near = np.arange(at + 1, last)
        if not len(near):
            continue
        ratio = h[near] / h[at]
        gap = x[near] - x[at] - w[at]
        higher = np.maximum(h[near], h[at])
        fits = (ratio > 0.5) & (ratio < 2.0) & (gap > -0.3 * higher) & (gap < 0.8 * higher)
        fits &= np.abs(middle[near] - middle[at]) < 0.4 * higher
        clear = params.evenness * np.maximum(contrast[near], contrast[at])
        fits &= (np.abs(luma[near] - luma[at]) < clear) & (np.abs(around[near] - around[at]) < clear)
        near = near[fits]
        if len(near):
            following[at] = near[np.argmin(x[near])]
    parent = np.arange(n)
    for at in range(n):
        if following[at] >= 0:
            parent[following[at]] = parent[at]
    return [order[parent == root] for root in np.unique(parent)]


def _parted(blobs: _Blobs, members: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """Return the parts of a line between bars that are higher than its letters: the edges of signs side by side."""
    if len(members) < 3:
        return [members]
    ordered = members[np.argsort(blobs.x[members], kind="stable")]
    w, h = blobs.w[ordered], blobs.h[ordered]
    bars = (h > 1.2 * np.quantile(h, 0.6)) & (w < 0.45 * h)
    parts = np.split(ordered, np.flatnonzero(bars))
    # Each part but the first begins with its bar.
    return [part for part in (parts[0], *(later[1:] for later in parts[1:])) if len(part)]


def _line(blobs: _Blobs, members: npt.NDArray[np.int64], params: EdgeParams) -> tuple[FloatArray, float] | None:
    """Return the corners and the score of a line with these blobs; None where it looks like no text."""
    x, y, w, h, luma, _, contrast = (values[members] for values in blobs)
    height = float(np.median(h))
    width = float((x + w).max() - x.min())
    if len(members) < params.min_letters and width < 2.5 * height * params.min_letters / 2:
        return None
    if width < 1.2 * height:
        return None
    centre = (x + w / 2).astype(np.float32)
    low, up = _fit(centre, y + h), _fit(centre, y)
    on_base = np.abs(y + h - np.polyval(low, centre)) < 0.16 * height
    on_top = np.abs(y - np.polyval(up, centre)) < 0.16 * height
    aligned = max(float(on_base.mean()), float(on_top.mean()))
    uneven = float(luma.std() / max(1.0, float(contrast.mean())))
    if aligned < params.alignment or uneven > params.evenness:
        return None
    ends = np.array([x.min(), (x + w).max()])
    # Ascenders and descenders are part of the line.
    over = float(np.quantile(np.polyval(up, centre) - y, 0.9))
    under = float(np.quantile(y + h - np.polyval(low, centre), 0.9))
    top, bottom = np.polyval(up, ends) - max(0.0, over), np.polyval(low, ends) + max(0.0, under)
    quad = np.array([(ends[0], top[0]), (ends[1], top[1]), (ends[1], bottom[1]), (ends[0], bottom[0])], np.float32)
    if (bottom - top).min() < 0.4 * height:
        return None
    # Several letters that touch say less than as many single ones.
    single = float((w <= 1.8 * h).mean())
    score = aligned * (1 - uneven / (2 * params.evenness)) * min(1.0, len(members) / 5 + 0.2) * (0.5 + 0.5 * single)
    return quad, float(np.clip(score, 0, 1))


def _fit(at: FloatArray, values: FloatArray) -> npt.NDArray[np.float64]:
    """Return slope and offset of the line through most of the points: repeated without those that are far off."""
    if len(at) < 3 or np.ptp(at) < 1:
        return np.array([0.0, float(np.median(values))])
    kept = np.ones(len(at), np.bool_)
    line = np.polyfit(at, values, 1)
    for _ in range(2):
        off = np.abs(values - np.polyval(line, at))
        kept = off <= max(1.0, 1.5 * float(np.median(off)))
        if kept.sum() < 3 or np.ptp(at[kept]) < 1:
            break
        line = np.polyfit(at[kept], values[kept], 1)
    return np.asarray(line, np.float64)


def _best(quads: list[FloatArray], scores: list[float], most: int) -> Lines:
    """Return the lines without those that a better one mostly covers."""
    if not quads:
        return Lines(np.empty((0, 4, 2), np.float32), np.empty(0, np.float32))
    corners = np.array(quads, np.float32)
    low, high = corners.min(axis=1), corners.max(axis=1)
    area = np.prod(high - low, axis=1)
    # The spaces between letters look like letters too, but lower ones in a shorter line.
    weight = np.array(scores) * area**0.1
    kept: list[int] = []
    for at in np.argsort(-weight, kind="stable").tolist():
        if kept:
            common = np.clip(np.minimum(high[kept], high[at]) - np.maximum(low[kept], low[at]), 0, None).prod(axis=1)
            if (common > 0.5 * np.minimum(area[kept], area[at])).any():
                continue
        kept.append(at)
        if len(kept) == most:
            break
    return Lines(corners[kept], np.array(scores, np.float32)[kept])
