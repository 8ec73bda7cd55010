"""Continuity of a stream: whether its frames follow one another in time or are unrelated, from stored layouts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_ALIKE = 0.7
"""Frames of one scene stay above 0.75, images of different places below 0.7 (docs/evaluation.md)."""
_MORE_OFTEN = 0.1
_DEVIATIONS = 3.0


def is_continuous(pairs: npt.NDArray[np.uint8]) -> bool:
    """Say whether frames resemble the one before, as those of a video do, or at least more than they resemble others.

    `pairs` has shape (N, 2, 64), uint8 (`transforms.metrics.hashing.layouts`): frames in order, each after its
    predecessor. From a fast camera, neighbours may differ as much as images of different places do; then the
    agreement with the neighbour must exceed that with frames a third of the stream away more often than by chance (the
    probability of superiority of Mann and Whitney 1947, by three standard deviations).
    """
    # This import takes half a second, which an export without splits should not spend.
    from transforms.curate.duplicates.hamming import agreements

    n = len(pairs)
    if not n:
        return False
    even = 2 * np.arange(n)
    layouts = pairs.reshape(2 * n, -1)
    near = agreements(layouts, even, even + 1)
    if np.median(near) >= _ALIKE:
        return True
    far = agreements(layouts, even, np.roll(even, n // 3))
    superiority = np.mean(near[:, None] > far[None, :]) + np.mean(near[:, None] == far[None, :]) / 2
    return bool(superiority >= 0.5 + max(_MORE_OFTEN, _DEVIATIONS * np.sqrt(1 / (6 * n))))
