"""Places on a frame that may show a logo without words: compact, busy, and calm on their left and right."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from transforms.brands.text_lines import EdgeParams, FloatArray, Lines, Probe
from transforms.frames.image import Gray

_COARSE = 2
"""By how much the map of edges is reduced before windows are compared on it."""

_HEIGHTS = (7, 10, 14, 20, 28, 40)
"""Heights of the windows, in pixels of the reduced map."""

_RATIOS = (1.0, 1.6)
"""Widths of the windows, as multiples of their height."""

_CALM = 0.35
"""Width of the strip on each side that has to be calmer, as a share of the window's height."""

_SAME = 0.6
"""Common part of two windows, as a share of the smaller one, from which on only the better one stays."""

_EDGE = 60.0
"""Gradient that counts as a full edge, so that few strong edges do not outweigh many."""

_Maps = list[tuple[npt.NDArray[np.float32], int, int]]


def find_emblems(gray: Gray, params: EdgeParams, probe: Probe = None) -> Lines:
    """Return windows of an (H, W) uint8 image that may show a logo, at most `max_emblems`, the best first.

    A sign extends to the left and right of its logo: busier than both is what counts. What is above and below is often
    the crowd or the field, and says nothing.
    """
    if not params.max_emblems:
        return Lines(np.empty((0, 4, 2), np.float32), np.empty(0, np.float32))
    whole = _energy(gray)
    size = (max(1, gray.shape[1] // _COARSE), max(1, gray.shape[0] // _COARSE))
    energy = np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_AREA), np.float32)
    scale = (gray.shape[1] / size[0], gray.shape[0] / size[1])
    maps: _Maps = []
    for high in _HEIGHTS:
        for ratio in _RATIOS:
            wide = round(high * ratio)
            if wide + 2 * round(_CALM * high) < size[0] and high < size[1]:
                maps.append((_busier(energy, wide, high), wide, high))
    if probe:
        probe("energy", np.asarray(whole * 255, np.uint8))
        for values, wide, high in maps:
            probe(f"busier_{wide}x{high}", np.asarray(np.clip(values, 0, 1) * 255, np.uint8))
    return _peaks(maps, scale, params)


def _energy(gray: Gray) -> npt.NDArray[np.float32]:
    """Return the strength of edges, 0..1."""
    across, along = (cv2.Sobel(gray, cv2.CV_32F, dx, 1 - dx, ksize=3) for dx in (1, 0))
    return np.minimum(cv2.magnitude(across, along) / (4 * _EDGE), 1).astype(np.float32)


def _busier(energy: npt.NDArray[np.float32], wide: int, high: int) -> npt.NDArray[np.float32]:
    """Return for each place by how much a window around it is busier than the strips on its left and right."""
    inside = cv2.boxFilter(energy, -1, (wide, high), borderType=cv2.BORDER_REFLECT)
    strip = max(2, round(_CALM * high))
    calm = cv2.boxFilter(energy, -1, (strip, max(3, round(0.6 * high))), borderType=cv2.BORDER_REFLECT)
    off = wide // 2 + strip // 2 + 1
    edge = np.pad(calm, ((0, 0), (off, off)), mode="edge")
    sides = np.maximum(edge[:, : -2 * off], edge[:, 2 * off :])
    return np.asarray(inside - sides, np.float32)


def _peaks(maps: _Maps, scale: tuple[float, float], params: EdgeParams) -> Lines:
    found: list[tuple[float, float, float, float, float]] = []
    for values, wide, high in maps:
        reach = max(3, high // 2) | 1
        highest = cv2.dilate(values, np.ones((reach, reach), np.uint8))
        ys, xs = np.nonzero((values >= highest) & (values >= params.emblem))
        for y, x in zip(ys.tolist(), xs.tolist(), strict=True):
            left, top = x - wide / 2, y - high / 2
            if left >= -1 and top >= -1 and left + wide <= values.shape[1] + 1 and top + high <= values.shape[0] + 1:
                found.append((float(values[y, x]), left, top, float(wide), float(high)))
    quads: list[FloatArray] = []
    scores: list[float] = []
    boxes = np.empty((0, 4), np.float64)
    for score, left, top, width, height in sorted(found, key=_rank):
        box = np.array([left, top, left + width, top + height]) * (*scale, *scale)
        if len(boxes) and _overlap(box, boxes) > _SAME:
            continue
        boxes = np.vstack([boxes, box])
        quads.append(np.array([box[[0, 1]], box[[2, 1]], box[[2, 3]], box[[0, 3]]], np.float32))
        scores.append(min(1.0, score))
        if len(quads) == params.max_emblems:
            break
    return Lines(np.array(quads, np.float32).reshape(-1, 4, 2), np.array(scores, np.float32))


def _rank(window: tuple[float, float, float, float, float]) -> float:
    """Return the place of a window in the order, the best first: parts of a logo are busier than all of it."""
    return -window[0] * float(np.sqrt(window[4]))


def _overlap(box: npt.NDArray[np.float64], boxes: npt.NDArray[np.float64]) -> float:
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    common = np.clip(high - low, 0, None).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return float((common / np.minimum(areas, float((box[2:] - box[:2]).prod()))).max())
