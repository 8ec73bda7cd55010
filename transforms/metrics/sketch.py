"""Sketches: a few numbers per picture that tell how far apart two pictures are, pixel by pixel.

What hashes and tiles average away, a sensor's noise above all, counts here: two looks of a camera at one quiet scene
are apart, one look that is shown twice is not.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from transforms.core.identity import mix
from transforms.frames.image import Gray

Int16Array = npt.NDArray[np.int16]

SIZE = 16
"""Numbers of a sketch. The distance that two of them give is off by a standard deviation of 18 %, 1/sqrt(2 SIZE)."""

_ROWS = 45
_UNIT = 256
"""Steps of one luma. Numbers wrap around: only differences count, and none of interest is larger than 128 of 255."""
# Sums of so many pixels are whole numbers that float32 holds, so that no order of adding changes them.
_MOST = (1 << 24) // 255 * SIZE


def sketch(gray: Gray) -> Int16Array | None:
    """Return the sketch of an (H, W) uint8 picture, shape (16,), dtype int16; None for one of fewer than 16 pixels.

    A count sketch (Charikar, Chen and Farach-Colton 2002, "Finding frequent items in data streams"): every pixel of
    some 45 rows is added, or taken away, in one of 16 sums, as a fixed pseudo-random sign says. The squared difference
    of two sketches is on average that of the pictures.
    """
    height, width = gray.shape
    step = max(1, height // _ROWS, -(-height * width // _MOST))
    pixels = gray[step // 2 :: step].reshape(-1)
    n = len(pixels) // SIZE * SIZE
    if not n:
        return None
    sums = np.einsum("ij,ij->j", pixels[:n].reshape(-1, SIZE).astype(np.float32), _signs(n))
    scaled = np.rint(sums.astype(np.float64) * (_UNIT / np.sqrt(n))).astype(np.int64)
    return scaled.astype(np.int16)


@lru_cache(maxsize=8)
def _signs(n: int) -> npt.NDArray[np.float32]:
    odd = mix(np.arange(n, dtype=np.uint64)) & np.uint64(1)
    return np.where(odd, np.float32(1), np.float32(-1)).reshape(-1, SIZE)


def distance(a: Int16Array, b: Int16Array) -> npt.NDArray[np.float32]:
    """Return the root mean square difference of luma, 0..255, of N pairs of pictures by sketches of shape (N, 16)."""
    apart = (a - b).astype(np.float32)
    return np.sqrt(np.einsum("ij,ij->i", apart, apart)) / np.float32(_UNIT)


def repeats(sketches: Int16Array, scene: npt.NDArray[np.int64], limit: float, back: int) -> npt.NDArray[np.bool_]:
    """Mark those of N pictures in order that are within `limit` of one of the `back` before, of the same scene."""
    found = np.zeros(len(sketches), np.bool_)
    for lag in range(1, min(back, len(sketches) - 1) + 1):
        near = (distance(sketches[lag:], sketches[:-lag]) <= limit) & (scene[lag:] == scene[:-lag])
        found[lag:] |= near
    return found
