"""Index of a clip's frames, built from its packets without decoding, and sampling of frames from it."""

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

# Number of packets whose timestamps may be wrong because of damage.
_STRAY = 3
# Container formats for which ffmpeg continues restarted timestamps when it remuxes them.
_TAKEN_UP = ("mpegts", "mpeg")


@dataclass(frozen=True)
class ClipIndex:
    """The frames of a clip in presentation order; arrays of shape (N,), int64.

    `pts` are presentation timestamps and `key` those of the keyframes at which decoding must start, both in units of
    `time_base` seconds; `size_bytes` are the sizes of the packets. `n_repeated` packets had the timestamp of another
    packet and are not in the index.
    """

    pts: Int64Array
    key: Int64Array
    size_bytes: Int64Array
    time_base: Fraction
    n_repeated: int

    def fragments(self, at: Int64Array) -> list[str]:
        """Return the URI fragments that name the frames at these positions, to be appended to the clip's path."""
        return [f"#pts={p}&key={k}" for p, k in zip(self.pts[at].tolist(), self.key[at].tolist(), strict=True)]


def index_clip(path: str) -> ClipIndex:
    """List the frames of a clip's first video stream from its packets, without decoding any.

    Packets that are truncated or have no timestamp are left out. Raises `ClipError` where the file has no video, where
    no packet has a timestamp, or where timestamps restart (one timestamp would name two frames); and `OSError` where it
    cannot be read.
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
            f"expected increasing timestamps, found that they restart at {begun} after {ended}, as in recordings that "
            f"were concatenated byte by byte; {_apart(path, kind)}"
        )
    pts, size, is_key = (np.array(column) for column in zip(*rows, strict=True))
    key = _keys(pts, is_key)
    order = np.argsort(pts, kind="stable")
    pts, key, size = pts[order], key[order], size[order]
    first = np.concatenate([[True], np.diff(pts) > 0])
    return ClipIndex(pts[first], key[first], size[first], Fraction(time_base), int((~first).sum()))


def _restart(clock: Int64Array) -> int:
    """Return the position at which timestamps in decoding order, shape (N,), restart, or 0 if they do not.

    Steps back that last for at most `_STRAY` packets are ignored: a running median of 2 * `_STRAY` + 1 removes them.
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
    """Return what the user can do about a clip whose timestamps restart."""
    name = PurePath(path.rpartition("/")[2])
    if kind not in _TAKEN_UP:
        return "keep the recordings in files of their own, or join them with ffmpeg's concat demuxer"
    remuxed = name.with_suffix(".mkv" if name.suffix != ".mkv" else ".mp4").name
    command = shlex.join(("ffmpeg", "-fflags", "+genpts", "-i", name.name, "-c", "copy", remuxed))
    return f"keep the recordings in files of their own, or remux it: {command}"


def _keys(pts: Int64Array, is_key: npt.NDArray[np.bool_]) -> Int64Array:
    """Return for each packet, in decoding order, the timestamp of the keyframe at which its decoding must start.

    That is the last keyframe before it, unless the frame is shown before that keyframe: leading pictures of an open
    group of pictures refer to the previous group, so that decoding starts one keyframe earlier.
    """
    at = np.maximum.accumulate(np.where(is_key, np.arange(len(pts)), 0))
    leads = pts < pts[at]
    before = np.concatenate([[0], at[:-1]])[at]
    return pts[np.where(leads, before, at)]


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
        return np.flatnonzero(index.pts == index.key)
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
