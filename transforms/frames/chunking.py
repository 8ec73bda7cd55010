"""Cutting a clip into chunks, half-open in presentation time: by length, at given frames, or between marks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from transforms.core.identity import Int64Array
from transforms.frames.clip_index import ClipIndex

_NS = 1_000_000_000


@dataclass(frozen=True)
class Mark:
    """An interval of a clip in seconds after its first frame, half-open; `end_s` is None for the end of the clip."""

    start_s: float
    end_s: float | None
    title: str = ""


def by_length(index: ClipIndex, seconds: float) -> list[tuple[int, int]]:
    """Return half-open intervals of frame numbers, each of frames that are shown within so many seconds.

    They follow on each other and cover every frame once; where a clip has a gap that is longer, there is no empty one.
    """
    since = index.since_first_ns(np.arange(len(index.pts)))
    number = since // round(seconds * _NS)
    starts = np.flatnonzero(np.diff(number, prepend=-1))
    return _between(starts, len(since))


def at_frames(index: ClipIndex, starts: Sequence[int]) -> list[tuple[int, int]]:
    """Return the intervals between given frames, the beginning and the end: every frame is in one of them."""
    n = len(index.pts)
    return _between(np.array(sorted({0, *(s for s in starts if 0 < s < n)}), np.int64), n)


def between_marks(index: ClipIndex, marks: Sequence[Mark]) -> list[tuple[int, int]]:
    """Return the frames of each mark: those from its beginning on that are shown before its end; may be none."""
    since = index.since_first_ns(np.arange(len(index.pts)))
    found = []
    for mark in marks:
        begin = int(np.searchsorted(since, round(mark.start_s * _NS), side="left"))
        end = len(since) if mark.end_s is None else int(np.searchsorted(since, round(mark.end_s * _NS), side="left"))
        found.append((begin, end))
    return found


def _between(starts: Int64Array, n: int) -> list[tuple[int, int]]:
    bounds = [*starts.tolist(), n]
    return [(begin, end) for begin, end in pairwise(bounds) if end > begin]


def end_pts(index: ClipIndex, end: int) -> int:
    """Return the timestamp at which a chunk ends: that of the frame after it, or one unit after the last one."""
    return int(index.pts[end]) if end < len(index.pts) else int(index.pts[-1]) + 1
