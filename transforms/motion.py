"""How much a frame differs from the one before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Le

from transforms.image import Gray

TILES = (36, 64)
"""Rows and columns of the tile grid that motion is measured on; a tile is 20x20 pixels of a 720p picture."""


_BATCH = 16  # frames whose float32 copies stay in a core's cache


@dataclass(frozen=True)
class MotionParams:
    """How motion is measured.

    `percentile`: which percentile of the tiles' differences is `motion_peak`. At 99.8 the fifth most changed of 2304
    tiles counts: a person of 1 % of the picture's height still shows, a blinking lamp or one digit of a clock does not.
    """

    percentile: Annotated[float, Ge(50), Le(100)] = 99.8


def to_tiles(small: Gray) -> Gray:
    """Return the mean luma of each tile of an (H, W) uint8 picture, shape (36, 64), dtype uint8."""
    return cv2.resize(small, TILES[::-1], interpolation=cv2.INTER_AREA)


class MotionScores(NamedTuple):
    """The measures of N pictures under their column names in the `motion` table, each float32 of shape (N,).

    `motion`: mean absolute difference of luma, 0..1. `motion_peak`: a high percentile of the same, 0..1, after a
    camera-wide change of brightness was taken out. `tile_contrast`: standard deviation of the tiles' luma, 0..127.5.
    """

    motion: npt.NDArray[np.float32]
    motion_peak: npt.NDArray[np.float32]
    tile_contrast: npt.NDArray[np.float32]


def motion_scores(tiles: npt.NDArray[np.uint8], previous: npt.NDArray[np.uint8], params: MotionParams) -> MotionScores:
    """Compare N pictures with their predecessors.

    `tiles` and `previous` have shape (N, 36, 64), dtype uint8, mean luma per tile.

    That change is modelled as gain and offset (least squares of the difference against the previous picture), which is
    what auto-exposure and clouds do. A tile counts with the smaller of its raw and its corrected difference: what did
    not change at all, a saturated sky under a rising gain, say, did not move.
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
    change = tiles.reshape(len(tiles), -1) - before
    raw = np.abs(change)
    level = before - before.mean(axis=1, keepdims=True)
    power = np.einsum("ij,ij->i", level, level)
    gain = np.einsum("ij,ij->i", level, change) / np.maximum(power, np.float32(1))
    change -= change.mean(axis=1, keepdims=True)
    level *= gain[:, None]
    change -= level
    moved = np.minimum(raw, np.abs(change, out=change), out=change)
    rank = round((moved.shape[1] - 1) * percentile / 100)
    moved.partition(rank, axis=1)
    contrast = np.sqrt(power / np.float32(level.shape[1]))
    return MotionScores(raw.mean(axis=1) / np.float32(255), np.clip(moved[:, rank] / np.float32(255), 0, 1), contrast)
