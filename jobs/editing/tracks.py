"""Tracks of boxes between keyframes: a box on each frame, moved and turned in a straight line."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Keyframe:
    """A box that a person drew: left, top, width and height in pixels, turned clockwise by degrees.

    Not `visible`: the object left before this frame, and no box is on it until the next visible one.
    """

    idx: int
    bbox: tuple[float, float, float, float]
    rotation: float = 0.0
    visible: bool = True


@dataclass(frozen=True)
class TrackedBox:
    """The box of a track on a frame."""

    idx: int
    bbox: tuple[float, float, float, float]
    rotation: float
    is_keyframe: bool


def interpolated(keyframes: Sequence[Keyframe], numbers: Sequence[int]) -> list[TrackedBox]:
    """Return the boxes of a track on some frames, in order of their numbers, from its first keyframe to its last.

    Between two keyframes every edge moves in proportion to the frame number; a turn takes the shorter way. There is no
    box from a keyframe that is not visible to the next one. Keyframes are in order, each number once.
    """
    known = [keyframe.idx for keyframe in keyframes]
    found = []
    for number in numbers:
        at = bisect_right(known, number) - 1
        if at < 0 or number > known[-1] or not keyframes[at].visible:
            continue
        before = keyframes[at]
        if number == before.idx:
            found.append(TrackedBox(number, before.bbox, before.rotation % 360, is_keyframe=True))
            continue
        after = keyframes[at + 1]
        share = (number - before.idx) / (after.idx - before.idx)
        x, y, w, h = (one + share * (other - one) for one, other in zip(before.bbox, after.bbox, strict=True))
        turn = (after.rotation - before.rotation + 180) % 360 - 180
        found.append(TrackedBox(number, (x, y, w, h), (before.rotation + share * turn) % 360, is_keyframe=False))
    return found
