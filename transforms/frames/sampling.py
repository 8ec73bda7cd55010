"""Which frames a clip has, from its packets alone, and which of them are taken."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from fractions import Fraction
from pathlib import PurePath
from typing import Literal

import numpy as np
import numpy.typing as npt

from transforms.core.identity import Int64Array
from transforms.frames.container import ClipError, clip_source, open_clip, packets_of

Sampling = float | Literal["native", "keyframes"]

# Damage can change the timestamps of a packet or two.
_STRAY = 3
# Of these, ffmpeg takes up timestamps that begin again where the last ones ended when it copies them.
_TAKEN_UP = ("mpegts", "mpeg")


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
    packets without timestamps only, or where they begin again, as one timestamp would name two frames; and `OSError`
    where it cannot be read.
    """
    with open_clip(clip_source(path)) as container:
        stream = container.streams.video[0]
        rows: list[tuple[int, int, bool]] = []
        clock: list[int] = []
        n_packets = 0
        for packet in packets_of(container, stream):
            n_packets += 1
            if packet.dts is not None:
                clock.append(packet.dts)
            if packet.pts is not None and packet.size:
                rows.append((packet.pts, packet.size, packet.is_keyframe))
        time_base, kind = stream.time_base, container.format.name
    if not rows or time_base is None:
        found = "packets without timestamps; remux it, as in `ffmpeg -i IN -c copy OUT.mp4`" if n_packets else "none"
        raise ClipError(f"expected a video stream with frames, found {found}")
    if restart := _restart(np.array(clock, np.int64)):
        ended, begun = (f"{float((clock[at] - clock[0]) * time_base):.2f} s" for at in (restart - 1, restart))
        raise ClipError(
            f"expected timestamps that rise, found that they begin again at {begun} after {ended}, as where recordings "
            f"were joined byte by byte; {_apart(path, kind)}"
        )
    pts, size, is_key = (np.array(column) for column in zip(*rows, strict=True))
    key = _keys(pts, is_key)
    order = np.argsort(pts, kind="stable")
    pts, key, size = pts[order], key[order], size[order]
    first = np.concatenate([[True], np.diff(pts) > 0])
    return ClipIndex(pts[first], key[first], size[first], Fraction(time_base), int((~first).sum()))


def _restart(clock: Int64Array) -> int:
    """Return at which of the timestamps of packets in order of decoding, shape (N,), they begin again, or 0.

    What goes back for `_STRAY` packets at most is none: medians of twice as many and one do not see it.
    """
    if len(clock) <= 2 * _STRAY:
        return 0
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(clock, _STRAY, mode="edge"), 2 * _STRAY + 1)
    falls = np.diff(np.median(windows, axis=1)) < 0
    if not falls.any():
        return 0
    first = max(0, int(np.argmax(falls)) - _STRAY)
    return first + 1 + int(np.argmin(np.diff(clock[first : first + 2 * _STRAY + 2])))


def _apart(path: str, kind: str) -> str:
    """Return what to do about a clip whose timestamps begin again."""
    name = PurePath(path.rpartition("/")[2])
    if kind not in _TAKEN_UP:
        return "keep the recordings in files of their own, or join them with ffmpeg's concat demuxer"
    remuxed = name.with_suffix(".mkv" if name.suffix != ".mkv" else ".mp4").name
    command = shlex.join(("ffmpeg", "-fflags", "+genpts", "-i", name.name, "-c", "copy", remuxed))
    return f"keep the recordings in files of their own, or remux it: {command}"


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
    rate = Fraction(sampling).limit_denominator(1_000_000)
    if not rate:
        # Less than a frame in three weeks.
        return np.zeros(1, np.int64)
    period = ticks_per_second / rate
    if n > 1 and period <= int(np.diff(index.pts).min()):
        return np.arange(n)
    n_ticks = int(span / period) + 1
    due = int(index.pts[0]) + (np.arange(n_ticks) * period.numerator) // period.denominator
    return np.unique(np.searchsorted(index.pts, due, side="right") - 1)
