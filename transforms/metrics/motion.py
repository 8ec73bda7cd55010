"""Motion between consecutive frames, and drift between frames that are far apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Le

Floats = npt.NDArray[np.float32]


STILL = (18, 32)
"""Rows and columns of the tile grid that is stored of some frames, to compare frames that are far apart."""

_BASE = 8
_RANK = 3
_BATCH = 16  # frames whose float32 copies stay in a core's cache


@dataclass(frozen=True)
class MotionParams:
    """How motion is measured.

    `percentile`: which percentile of the tiles' differences is `motion_peak`. At 99.8 it is the fifth largest of 2304
    tiles: a person of 1 % of the image's height is detected, a blinking lamp or one digit of a clock is not.
    """

    percentile: Annotated[float, Ge(50), Le(100)] = 99.8


def keeps_tiles(frame_idx: int) -> bool:
    """Return whether a frame's tiles are stored: one frame in eight, at most 15 numbers apart.

    These are the frames whose number, in base 8, has a sum of digits divisible by 8. So the choice depends only on the
    number, and the share is one in eight for any step between numbers.
    """
    total = 0
    while frame_idx:
        frame_idx, digit = divmod(frame_idx, _BASE)
        total += digit
    return total % _BASE == 0


def still_tiles(tiles: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the stored tiles of N images, shape (N, 576), uint8, from (N, 36, 64) uint8 tiles: means of 2x2 tiles."""
    wide = tiles.astype(np.uint16)
    rows = wide[:, ::2] + wide[:, 1::2]
    sums = rows[:, :, ::2] + rows[:, :, 1::2]
    return ((sums + 2) // 4).astype(np.uint8).reshape(len(tiles), STILL[0] * STILL[1])


def drift(tiles: npt.NDArray[np.uint8], anchor: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return how far N images differ from a reference, shape (N,), float32, 0..1: the third largest tile difference.

    `tiles` has shape (N, 576) and `anchor`, the reference, shape (576,), uint8, as `still_tiles` returns them. Changes
    of illumination are removed: gain and offset, as in `motion_scores`, and what a tile has in common with its
    neighbours (the median of 3x3 tiles), such as shadow. Of the raw and the two corrected differences, the smallest
    counts.
    """
    return np.concatenate(
        [
            np.empty(0, np.float32),
            *(_drift(tiles[first : first + _BATCH], anchor) for first in range(0, len(tiles), _BATCH)),
        ]
    )


def _drift(tiles: npt.NDArray[np.uint8], anchor: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    raw, corrected, _ = _changes(tiles, np.broadcast_to(anchor, tiles.shape).astype(np.float32))
    smooth = np.stack([cv2.medianBlur(picture, 3) for picture in corrected.reshape(-1, *STILL)]).reshape(raw.shape)
    least = np.minimum(np.minimum(raw, np.abs(corrected)), np.abs(corrected - smooth))
    least.partition(least.shape[1] - _RANK, axis=1)
    return np.clip(least[:, -_RANK] / np.float32(255), 0, 1)


class MotionScores(NamedTuple):
    """The measures of N images under their column names in the `motion` table, each float32 of shape (N,).

    `motion`: mean absolute difference of luma, 0..1. `motion_peak`: a high percentile of the same, 0..1, after a global
    change of brightness was removed. `tile_contrast`: standard deviation of the previous frame's tiles, 0..127.5.
    """

    motion: npt.NDArray[np.float32]
    motion_peak: npt.NDArray[np.float32]
    tile_contrast: npt.NDArray[np.float32]


def motion_scores(tiles: npt.NDArray[np.uint8], previous: npt.NDArray[np.uint8], params: MotionParams) -> MotionScores:
    """Compare N images with their predecessors.

    `tiles` and `previous` have shape (N, 36, 64), uint8, mean luma per tile.

    A global change of brightness, as auto-exposure and clouds cause, is modelled as gain and offset (least squares of
    the difference against the previous image). For each tile the smaller of its raw and its corrected difference
    counts: a tile that did not change at all, such as a saturated sky under a rising gain, did not move.
    """
    batches = [
        _scores(tiles[first : first + _BATCH], previous[first : first + _BATCH], params.percentile)
        for first in range(0, len(tiles), _BATCH)
    ]
    if not batches:
        return MotionScores(*(np.empty(0, np.float32) for _ in MotionScores._fields))
    return MotionScores(*(np.concatenate(column) for column in zip(*batches, strict=True)))


def _scores(tiles: npt.NDArray[np.uint8], previous: npt.NDArray[np.uint8], percentile: float) -> MotionScores:
    before = previous.reshape(len(previous), -1).astype(np.float32)
    raw, change, contrast = _changes(tiles.reshape(len(tiles), -1), before)
    moved = np.minimum(raw, np.abs(change, out=change), out=change)
    rank = round((moved.shape[1] - 1) * percentile / 100)
    moved.partition(rank, axis=1)
    return MotionScores(raw.mean(axis=1) / np.float32(255), np.clip(moved[:, rank] / np.float32(255), 0, 1), contrast)


def _changes(tiles: npt.NDArray[Any], before: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the absolute differences, the signed ones without gain and offset, and the contrast of `before`."""
    change = tiles - before
    raw = np.abs(change)
    level = before - before.mean(axis=1, keepdims=True)
    power = np.einsum("ij,ij->i", level, level)
    gain = np.einsum("ij,ij->i", level, change) / np.maximum(power, np.float32(1))
    change -= change.mean(axis=1, keepdims=True)
    level *= gain[:, None]
    change -= level
    return raw, change, np.sqrt(power / np.float32(level.shape[1]))
