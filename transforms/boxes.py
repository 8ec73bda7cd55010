"""Boxes as tables hold them: left, top, width and height in pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def overlaps(one: FloatArray, other: FloatArray) -> FloatArray:
    """Return the intersection over union of boxes (N, 4) and (M, 4), shape (N, M), 0..1; 0 where neither has area."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum((one[:, :2] + one[:, 2:])[:, None], (other[:, :2] + other[:, 2:])[None])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    both = one[:, 2:].prod(axis=1)[:, None] + other[:, 2:].prod(axis=1)[None] - shared
    return np.divide(shared, both, out=np.zeros_like(shared), where=both > 0)
