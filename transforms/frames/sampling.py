"""Sampling of the frames of a clip: all, keyframes, or a rate per second."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

import numpy as np

from transforms.core.identity import Int64Array
from transforms.frames.clip_index import ClipIndex

Sampling = float | Literal["native", "keyframes"]


def sample(index: ClipIndex, sampling: Sampling) -> Int64Array:
    """Return the positions of the frames to use, ascending, int64.

    For a number of frames per second, every tick since the first frame selects the frame that is displayed then, so
    that clips of variable frame rate are sampled at a steady rate; where the number exceeds the clip's own rate, all
    frames are used.
    """
    n = len(index.pts)
    if sampling == "native":
        return np.arange(n)
    if sampling == "keyframes":
        return np.flatnonzero(index.is_key)
    ticks_per_second = 1 / index.time_base
    span = int(index.pts[-1] - index.pts[0])
    rate = Fraction(sampling).limit_denominator(1_000_000)
    if not rate:
        # The rate rounds to zero: less than one frame in three weeks.
        return np.zeros(1, np.int64)
    period = ticks_per_second / rate
    if n > 1 and period <= int(np.diff(index.pts).min()):
        return np.arange(n)
    n_ticks = int(span / period) + 1
    due = int(index.pts[0]) + (np.arange(n_ticks) * period.numerator) // period.denominator
    return np.unique(np.searchsorted(index.pts, due, side="right") - 1)
