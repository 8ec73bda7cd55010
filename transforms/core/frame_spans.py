"""Sets of frame numbers as half-open intervals."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class FrameSpans:
    """Frame numbers in half-open intervals that are sorted and apart: `begins` and `ends`, shape (N,), int64."""

    begins: Int64Array
    ends: Int64Array

    @classmethod
    def of(cls, intervals: Iterable[tuple[int, int]]) -> FrameSpans:
        """Return the union of half-open intervals, which may overlap; empty ones hold nothing."""
        joined: list[list[int]] = []
        for begin, end in sorted((b, e) for b, e in intervals if e > b):
            if joined and begin <= joined[-1][1]:
                joined[-1][1] = max(joined[-1][1], end)
            else:
                joined.append([begin, end])
        table = np.array(joined, np.int64).reshape(-1, 2)
        return cls(table[:, 0], table[:, 1])

    def holds(self, numbers: npt.NDArray[Any]) -> BoolArray:
        """Return which frame numbers are in one of the intervals, shape as given."""
        if not len(self.begins):
            return np.zeros(len(numbers), np.bool_)
        at = np.searchsorted(self.begins, numbers, side="right") - 1
        found: BoolArray = (at >= 0) & (numbers < self.ends[at])
        return found
