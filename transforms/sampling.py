"""Which frames a clip has, from its packets alone, and which of them are taken."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
import numpy.typing as npt

from transforms.container import ClipError, clip_source, open_clip, packets_of
from transforms.identity import Int64Array

Sampling = float | Literal["native", "keyframes"]


@dataclass(frozen=True)
class ClipIndex:
    """The frames of a clip in order of presentation; arrays of shape (N,).

    `pts` are presentation timestamps and `key` those of the keyframes at which decoding begins, both in units of
    `time_base` seconds; `size_bytes` are the sizes of the packets. `n_repeated` packets carried the timestamp of
    another one and are left out.
    """

    pts: Int64Array
    key: Int64Array
    size_bytes: Int64Array
    time_base: Fraction
    n_repeated: int

    def fragments(self, at: Int64Array) -> list[str]:
        """Return what follows the path in the names of the frames at these positions."""
        return [f"#pts={p}&key={k}" for p, k in zip(self.pts[at].tolist(), self.key[at].tolist(), strict=True)]


def index_clip(path: str) -> ClipIndex:
    """List the frames of a clip's first video stream from its packets, without decoding any.

    A packet that was cut off or has no timestamp is left out. Raises `ClipError` where the file holds no video or
    packets without timestamps only, and `OSError` where it cannot be read.
    """
    with open_clip(clip_source(path)) as container:
        stream = container.streams.video[0]
        rows: list[tuple[int, int, int, bool]] = []
        n_packets = 0
        for packet in packets_of(container, stream):
            n_packets += 1
            if packet.pts is not None and packet.size:
                dts = packet.pts if packet.dts is None else packet.dts
                rows.append((packet.pts, dts, packet.size, packet.is_keyframe))
        time_base = stream.time_base
    if not rows or time_base is None:
        found = "packets without timestamps; remux it, as in `ffmpeg -i IN -c copy OUT.mp4`" if n_packets else "none"
        raise ClipError(f"expected a video stream with frames, found {found}")
    pts, _, size, is_key = (np.array(column) for column in zip(*rows, strict=True))
    key = _keys(pts, is_key)
    order = np.argsort(pts, kind="stable")
    pts, key, size = pts[order], key[order], size[order]
    first = np.concatenate([[True], np.diff(pts) > 0])
    return ClipIndex(pts[first], key[first], size[first], Fraction(time_base), int((~first).sum()))


def _keys(pts: Int64Array, is_key: npt.NDArray[np.bool_]) -> Int64Array:
    """Return for packets in order of decoding where decoding has to begin for each.

    That is the last keyframe before it, unless the frame is shown before that keyframe: pictures that lead an open
    group refer to the group before, so for them it is the keyframe before that one.
    """
    at = np.maximum.accumulate(np.where(is_key, np.arange(len(pts)), 0))
    leads = pts < pts[at]
    before = np.concatenate([[0], at[:-1]])[at]
    return pts[np.where(leads, before, at)]


def sample(index: ClipIndex, sampling: Sampling) -> Int64Array:
    """Return the positions of the frames to take, ascending.

    A number of frames per second takes for every tick since the first frame the frame that is on the screen then, so
    that clips of variable frame rate give a steady one; where it is above the clip's own, all frames are taken.
    """
    n = len(index.pts)
    if sampling == "native":
        return np.arange(n)
    if sampling == "keyframes":
        return np.flatnonzero(index.pts == index.key)
    ticks_per_second = 1 / index.time_base
    span = int(index.pts[-1] - index.pts[0])
    period = ticks_per_second / Fraction(sampling).limit_denominator(1_000_000)
    n_ticks = int(span / period) + 1
    due = int(index.pts[0]) + (np.arange(n_ticks) * period.numerator) // period.denominator
    return np.unique(np.searchsorted(index.pts, due, side="right") - 1)
