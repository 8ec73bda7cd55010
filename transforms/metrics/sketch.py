"""Count sketches of images: 16 numbers from which the pixelwise distance of two images is estimated.

Unlike hashes and tiles, sketches preserve sensor noise: two exposures of a static scene differ, one image that is shown
twice does not.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from transforms.core.identity import mix
from transforms.frames.image import Gray

Int16Array = npt.NDArray[np.int16]

SIZE = 16
"""Numbers of a sketch. The distance of two sketches has a relative standard error of 18 %, 1/sqrt(2 SIZE)."""

_ROWS = 45
_UNIT = 256
"""Units per step of luma. Numbers wrap around: only differences count, and those of interest are below 128."""
# Sums of up to this many pixels are integers that float32 holds exactly, so that the order of summation is irrelevant.
_MOST = (1 << 24) // 255 * SIZE


def sketch(gray: Gray) -> Int16Array | None:
    """Return the sketch of an (H, W) uint8 image, shape (16,), int16; None for an image of fewer than 16 pixels.

    A count sketch (Charikar, Chen and Farach-Colton 2002, "Finding frequent items in data streams"): every pixel of
    about 45 rows is added to one of 16 sums with a fixed pseudo-random sign. The expected squared difference of two
    sketches is that of the images.
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
    """Return the RMS difference of luma, 0..255, shape (N,), float32, of N pairs of images from (N, 16) sketches."""
    apart = (a - b).astype(np.float32)
    return np.sqrt(np.einsum("ij,ij->i", apart, apart)) / np.float32(_UNIT)


def repeats(sketches: Int16Array, scene: npt.NDArray[np.int64], limit: float, back: int) -> npt.NDArray[np.bool_]:
    """Mark the images within `limit` of one of the `back` images before them in the same scene, shape (N,), bool."""
    found = np.zeros(len(sketches), np.bool_)
    for lag in range(1, min(back, len(sketches) - 1) + 1):
        near = (distance(sketches[lag:], sketches[:-lag]) <= limit) & (scene[lag:] == scene[:-lag])
        found[lag:] |= near
    return found
