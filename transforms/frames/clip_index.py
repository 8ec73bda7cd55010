"""Index of a clip's frames: from its packets alone where they tell, or else from decoding it once."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from fractions import Fraction
from pathlib import PurePath
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from transforms.core.identity import Int64Array
from transforms.frames.clip_decoder import Decoder
from transforms.frames.container import ClipError, clip_source, open_clip, packets_of, video_of

# Number of packets whose timestamps may be wrong because of damage.
_STRAY = 3
# Container formats for which ffmpeg continues restarted timestamps when it remuxes them.
_TAKEN_UP = ("mpegts", "mpeg")
# Container formats that stamp packets with the time at which their images are shown; AVI, for one, has no such times.
_STAMPING = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "mpegts", "flv")
# Codecs of which every packet gives one image: others, VP8 for one, have packets that are never shown.
_ONE_EACH = ("h264", "hevc", "vp9", "av1", "mpeg4", "mpeg2video", "mpeg1video")
_FIELDS, _PROGRESSIVE = ("h264",), 1
# MPEG-4 fills in for images that are in another packet by packets of a few bytes.
_FILLED, _FILLER_BYTES = ("mpeg4",), 16


@dataclass(frozen=True)
class ClipIndex:
    """The frames of a clip in presentation order; arrays of shape (N,), int64.

    `pts` are presentation timestamps and `key` those of the keyframes at which decoding must start, both in units of
    `time_base` seconds; `size_bytes` are the sizes of the packets. Where the clip had to be decoded to list its frames,
    `packet` are the places of their packets among those of the stream, from 0 on; `key` then is such a place too, and
    `pts` are estimated where the container does not have them.
    """

    pts: Int64Array
    key: Int64Array
    size_bytes: Int64Array
    time_base: Fraction
    packet: Int64Array | None = None

    @property
    def is_key(self) -> npt.NDArray[np.bool_]:
        """Return which frames are keyframes, shape (N,)."""
        return (self.pts if self.packet is None else self.packet) == self.key

    def since_first_ns(self, at: Int64Array) -> Int64Array:
        """Return how long after the first frame those at these positions are shown, int64, in ns."""
        ticks = self.pts[at] - (self.pts[0] if len(self.pts) else 0)
        numerator, denominator = self.time_base.numerator * 1_000_000_000, self.time_base.denominator
        whole, rest = np.divmod(ticks, denominator)
        found: Int64Array = whole * numerator + rest * numerator // denominator
        return found

    def fragments(self, at: Int64Array) -> list[str]:
        """Return the URI fragments that name the frames at these positions, to be appended to the clip's path."""
        names = [f"#pts={p}&key={k}" for p, k in zip(self.pts[at].tolist(), self.key[at].tolist(), strict=True)]
        if self.packet is None:
            return names
        return [f"{name}&packet={place}" for name, place in zip(names, self.packet[at].tolist(), strict=True)]


class _Packets(NamedTuple):
    """What the packets of a clip's video stream say, in decoding order."""

    pts: list[int | None]
    dts: list[int | None]
    size: list[int]
    is_key: list[bool]
    is_hidden: list[bool]


def index_clip(path: str) -> ClipIndex:
    """List the frames of a clip's first video stream that are shown, in the order in which they are.

    No frame is decoded where each packet is one image with a time of its own; otherwise, what a full decode yields is
    listed. Raises `ClipError` where the file has no video, or where timestamps restart (one time would name two
    frames); and `OSError` where it cannot be read.
    """
    with open_clip(clip_source(path)) as container:
        stream = video_of(container)
        rows = [
            (packet.pts, packet.dts, packet.size, packet.is_keyframe, packet.is_discard)
            for packet in packets_of(container, stream)
        ]
        if not rows or stream.time_base is None:
            raise ClipError("expected a video stream with frames, found one without any: nothing was recorded")
        packets = _Packets(*(list(column) for column in zip(*rows, strict=True)))
        base, kind = Fraction(stream.time_base), container.format.name
        clock = [dts for dts in packets.dts if dts is not None]
        if restart := _restart(np.array(clock, np.int64)):
            ended, begun = (f"{float((clock[at] - clock[0]) * base):.2f} s" for at in (restart - 1, restart))
            raise ClipError(
                f"expected increasing timestamps, found that they restart at {begun} after {ended}, as in recordings "
                f"that were concatenated byte by byte; {_apart(path, kind)}"
            )
        if _tells(kind, stream, packets):
            return _from_stamps(packets, base)
    return _from_decoding(path, packets, base)


def _tells(kind: str, stream: Any, packets: _Packets) -> bool:
    """Return whether each packet is an image, stamped with its own time, so that decoding would tell nothing new."""
    context = stream.codec_context
    if kind not in _STAMPING and not context.codec.intra_only:
        return False
    if context.name not in _ONE_EACH and not context.codec.intra_only:
        return False
    # Each field of an interlaced H.264 image may be a packet of its own.
    if context.name in _FIELDS and context.field_order != _PROGRESSIVE:
        return False
    if context.name in _FILLED and min(packets.size) < _FILLER_BYTES:
        return False
    stamps = [pts for pts, is_hidden in zip(packets.pts, packets.is_hidden, strict=True) if not is_hidden]
    return None not in packets.pts and len(set(stamps)) == len(stamps) > 0


def _from_stamps(packets: _Packets, base: Fraction) -> ClipIndex:
    pts, is_key, size = np.array(packets.pts, np.int64), np.array(packets.is_key), np.array(packets.size, np.int64)
    shown = np.flatnonzero(~np.array(packets.is_hidden))
    shown = shown[np.argsort(pts[shown], kind="stable")]
    return ClipIndex(pts[shown], pts[_starts(pts, is_key)[shown]], size[shown], base)


def _from_decoding(path: str, packets: _Packets, base: Fraction) -> ClipIndex:
    stamps: dict[int, int | None] = {}
    n = len(packets.pts)
    with open_clip(clip_source(path)) as container:
        stream = video_of(container)
        rate = stream.average_rate
        decoder = Decoder(stream, enumerate(packets_of(container, stream)), 0)
        n_lost = 0
        while True:
            found = decoder.frame()
            # A packet that does not decode is a frame that is lost; it is listed, to be reported as such.
            stamps |= {tag: packets.pts[tag] for tag in decoder.lost[n_lost:] if tag < n and tag not in stamps}
            n_lost = len(decoder.lost)
            if found is None:
                break
            stamps.pop(found[0], None)
            stamps[found[0]] = found[1].pts
            decoder.skip()
    place = np.array(list(stamps), np.int64)
    if not len(place):
        raise ClipError(f"expected frames that can be decoded, found {n} packets that give none")
    # The position at which the image of each packet is shown; that of packets without an image is not known.
    shown = np.full(n, np.iinfo(np.int64).max)
    shown[place] = np.arange(len(place))
    key = _starts(shown, np.array(packets.is_key))[place]
    ticks = float(1 / (rate * base)) if rate else 1.0
    return ClipIndex(_times(list(stamps.values()), ticks), key, np.array(packets.size, np.int64)[place], base, place)


def _times(stamps: list[int | None], ticks: float) -> Int64Array:
    """Return times for frames in presentation order, shape (N,), that rise.

    Stamps that a container gives in decoding order are the right times in the wrong order. Frames without a stamp are
    evenly between those with one, and `ticks` apart before the first and after the last.
    """
    at = np.array([at for at, stamp in enumerate(stamps) if stamp is not None], np.int64)
    known = np.sort(np.array([stamp for stamp in stamps if stamp is not None], np.int64))
    wanted = np.arange(len(stamps))
    times: npt.NDArray[np.floating[Any]]
    if len(at):
        times = np.interp(wanted, at, known)
        times = np.where(wanted < at[0], known[0] + (wanted - at[0]) * ticks, times)
        times = np.where(wanted > at[-1], known[-1] + (wanted - at[-1]) * ticks, times)
    else:
        times = wanted * ticks
    # Units of time may be too coarse for a time between two others.
    return np.maximum.accumulate(np.round(times).astype(np.int64) - wanted) + wanted


def _starts(shown: Int64Array, is_key: npt.NDArray[np.bool_]) -> Int64Array:
    """Return for each packet, in decoding order, the place of the keyframe at which its decoding must start.

    `shown` orders the packets as their images are shown. Decoding starts at the last keyframe before the packet,
    unless the frame is shown before that keyframe: leading frames of an open group of pictures refer to the previous
    group, so that decoding starts one keyframe earlier.
    """
    at = np.maximum.accumulate(np.where(is_key, np.arange(len(shown)), 0))
    before = np.concatenate([[0], at[:-1]])[at]
    return np.where(shown < shown[at], before, at)


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
