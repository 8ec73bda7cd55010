"""Intersection over union of axis-aligned boxes given as left, top, width and height in pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def box_iou(one: FloatArray, other: FloatArray) -> FloatArray:
    """Return the pairwise intersection over union of two sets of boxes, shape (N, M), float64, 0..1.

    `one` has shape (N, 4), `other` (M, 4), float64: left, top, width, height in pixels. For boxes A and B it is |A & B|
    / (|A| + |B| - |A & B|), with no epsilon added; 0 where both areas are 0.
    """
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum((one[:, :2] + one[:, 2:])[:, None], (other[:, :2] + other[:, 2:])[None])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    both = one[:, 2:].prod(axis=1)[:, None] + other[:, 2:].prod(axis=1)[None] - shared
    return np.divide(shared, both, out=np.zeros_like(shared), where=both > 0)
