"""Random access to the frames of a video clip by presentation timestamp, exact to the frame, and their digests.

A frame of a clip is named by its presentation timestamp and by that of the keyframe at which decoding must start, so
that it can be decoded without an index of the clip: `clip.mp4#pts=12800&key=10240`.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import cv2
import numpy as np
import numpy.typing as npt
from blake3 import blake3

from transforms.frames.container import clip_source, open_clip, packets_of, status_of
from transforms.frames.image import Color, CorruptImageError, Gray, ImageParams, refuse_unless_sane, shrink
from transforms.frames.orientation import ON_ITS_SIDE, turned
from transforms.io.frame_bytes import FileChangingError

if TYPE_CHECKING:
    # Importing PyAV takes a tenth of a second, which programs without clips should not spend.
    import av


EXTENSIONS = ("mp4", "m4v", "mov", "mkv", "webm", "avi", "ts", "mts", "m2ts", "mpg", "mpeg", "3gp", "flv", "wmv")
_FRAGMENT = r"#pts=(?P<pts>-?[0-9]+)&key=(?P<key>-?[0-9]+)$"
_NAME = re.compile(r"(?P<path>.+)" + _FRAGMENT, re.DOTALL)
KEY_PATTERN = _FRAGMENT
"""Matches `pts` and `key` in the name of a clip's frame, as an RE2 pattern with named groups."""

_DAMAGED = "the frame's packet is damaged"
_BUILDS_ON_DAMAGED = "the frame is decoded from another one whose packet is damaged"

# Seeking to a keyframe costs about as much as decoding this many frames.
_WORTH_A_JUMP = 12
_JUMPS = 8
_PLANAR = frozenset({"yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "nv12", "nv21", "gray"})
_FULL_RANGE = 2
# Most clips store luma in limited range, 16 to 235 (ITU-R BT.601, BT.709).
_BLACK, _TO_FULL = 16.0, 255.0 / 219.0
# EXIF orientations of images rotated counterclockwise by 0 to 3 quarter turns: plain, and mirrored left to right.
_TURNED, _MIRRORED = (1, 8, 3, 6), (2, 5, 4, 7)


class FrameName(NamedTuple):
    """The name of a clip's frame: path of the clip, and timestamps in units of the stream's time base."""

    path: str
    pts: int
    key: int

    @classmethod
    def parse(cls, uri: str) -> FrameName | None:
        """Return the parts of a URI, or None if it names an ordinary file."""
        found = _NAME.fullmatch(uri)
        return cls(found["path"], int(found["pts"]), int(found["key"])) if found else None


class ClipFrame:
    """A decoded frame of a stream with the time base `base`. Images are oriented by the clip's metadata."""

    def __init__(self, frame: av.VideoFrame, base: Fraction | None) -> None:
        self._frame = frame
        # Frames that the decoder returns when it is flushed at the end have no time base.
        self._base = frame.time_base or base
        self._orientation = _orientation(frame)

    @property
    def size(self) -> tuple[int, int]:
        """Return width and height in pixels as displayed."""
        size = (self._frame.width, self._frame.height)
        return size[::-1] if self._orientation >= ON_ITS_SIDE else size

    @property
    def time_ns(self) -> int | None:
        """Return the presentation time in ns from the zero of the clip's timestamps, or None if unknown."""
        if self._base is None or self._frame.pts is None:
            return None
        return int(self._frame.pts * self._base * 1_000_000_000)

    def digest(self) -> bytes:
        """Return the BLAKE3 digest of the decoded planes, without the padding of their rows."""
        hasher = blake3(f"{self._frame.format.name} {self._frame.width}x{self._frame.height}".encode())
        for plane in _planes(self._frame):
            hasher.update(np.ascontiguousarray(plane).data)
        return hasher.digest()

    def gray(self, params: ImageParams) -> Gray:
        """Return the luma at the size of `params`, shape (H, W), uint8, scaled from the clip's range to 0..255."""
        refuse_unless_sane(self._frame.width, self._frame.height, params)
        name = self._frame.format.name
        if name in _PLANAR:
            gray = shrink(_planes(self._frame)[0], params.long_side)
            is_full = name.startswith(("yuvj", "gray")) or self._frame.color_range == _FULL_RANGE
            gray = gray.copy() if is_full else cv2.convertScaleAbs(cv2.subtract(gray, _BLACK), alpha=_TO_FULL)
        else:
            gray = shrink(_as_bytes(self._frame.reformat(format="gray").to_ndarray()), params.long_side)
        return turned(gray, self._orientation)

    def color(self) -> Color:
        """Return the image, shape (H, W, 3), uint8, BGR."""
        return turned(_as_bytes(self._frame.to_ndarray(format="bgr24")), self._orientation)


def _as_bytes(picture: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    return picture.astype(np.uint8, copy=False)


def _orientation(frame: av.VideoFrame) -> int:
    """Return the EXIF orientation, 1 to 8, that a frame's metadata ask for.

    The display matrix (ISO/IEC 14496-12, 8.3.2) maps x (right) and y (down) to a x + c y and b x + d y.
    """
    # The type is declared as a mapping, but iterating over it yields the values.
    found: Any = frame.side_data
    matrix = next((data for data in found if data.type.name == "DISPLAYMATRIX"), None)
    if matrix is None:
        return 1
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
    is_mirrored = a * d < b * c
    angle = math.atan2(b, -a) if is_mirrored else math.atan2(-b, a)
    return (_MIRRORED if is_mirrored else _TURNED)[round(angle / (math.pi / 2)) % 4]


class FrameLookup(NamedTuple):
    """The result of `Clip.find`: the frame, or None and the reason `wrong`; the packet's size and the file's mtime."""

    frame: ClipFrame | None
    wrong: str
    size_bytes: int
    mtime_ns: int
    read_ns: int
    changed_ns: int | None = None


class _Packet(NamedTuple):
    """The size of a packet in bytes, and its position in decoding order."""

    size_bytes: int
    order: int


class Clip:
    """A video clip that returns frames by name; use as a context manager.

    Frames that are requested in presentation order are decoded once.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._source = clip_source(path)
        self._status = status_of(self._source)
        self._changed_ns = self._source.stat().st_ctime_ns if isinstance(self._source, Path) else None
        self._container = open_clip(self._source)
        self._stream = self._container.streams.video[0]
        context = self._stream.codec_context
        context.thread_count = 1
        self._frames: Iterator[av.VideoFrame] = iter(())
        self._seen: dict[int, _Packet] = {}
        self._n_seen = 0
        self._damaged: list[int] = []
        self._group = 0
        self._start: int | None = None
        self._passed: int | None = None
        self._ahead: av.VideoFrame | None = None
        self._first: int | None = None
        self._second: int | None = None
        self._back = 0
        self._earliest: int | None = None
        self._nothing_before = -math.inf
        self._unreachable: set[int] = set()
        rate, base = self._stream.average_rate, self._stream.time_base
        self._worth_a_jump = int(_WORTH_A_JUMP / (rate * base)) if rate and base else 0

    @property
    def codec(self) -> str:
        """Return the name of the video codec, such as `h264`."""
        return str(self._stream.codec_context.name)

    def find(self, name: FrameName) -> FrameLookup:
        """Look up a frame. Raises `FileChangingError` if the file has changed since it was opened."""
        if status_of(self._source) != self._status:
            raise FileChangingError(f"{self._path} changed while it was read")
        read_ns = time.time_ns()
        frame = self._find(name)
        packet = self._seen.get(name.pts, _Packet(0, self._n_seen))
        wrong = self._wrong(frame, packet, name)
        given = ClipFrame(frame, self._stream.time_base) if frame and not wrong else None
        return FrameLookup(given, wrong, packet.size_bytes, self._status[1], read_ns, self._changed_ns)

    def _wrong(self, frame: av.VideoFrame | None, packet: _Packet, name: FrameName) -> str:
        """Return why a frame must not be used, or "": decoders go on after damage and return partly wrong images."""
        if frame is None or frame.is_corrupt:
            return _DAMAGED
        start = self._seen.get(name.key, packet).order
        return _BUILDS_ON_DAMAGED if any(start <= order < packet.order for order in self._damaged) else ""

    def frame(self, name: FrameName) -> ClipFrame:
        """Return a frame. Raises `CorruptImageError` if it is missing or damaged, and the errors of `find`."""
        found = self.find(name)
        if found.frame is None:
            raise CorruptImageError(found.wrong)
        return found.frame

    def _find(self, name: FrameName) -> av.VideoFrame | None:
        if self._is_elsewhere(name):
            earlier = self._keyframe_until(name.key - self._back) if self._back else None
            self._jump(name.key if earlier is None else earlier)
        frame = self._walk(name)
        while self._start is not None and not self._is_settled(name) and name.pts >= self._nothing_before:
            start = self._start
            earlier = (
                self._keyframe_until(name.key - max(1, 2 * (name.key - start))) if start != self._earliest else None
            )
            if earlier is None:
                self._earliest = start
                if frame is None and self._passed is None:
                    self._nothing_before = math.inf if self._first is None else self._first
                break
            self._jump(earlier)
            frame = self._walk(name)
            self._back = max(self._back, name.key - earlier)
        return frame

    def _is_settled(self, name: FrameName) -> bool:
        """Return whether decoding started early enough for the frame to be complete.

        With intra refresh, images are complete only some time after a keyframe. Those that the decoder first marks as
        complete may still be wrong, since it started without a reference; they are right one refresh period later.
        """
        if self._start is None or self._first is None:
            return False
        late = self._first - self._start
        return late <= 0 or (self._second is not None and self._second + late <= name.pts)

    def _walk(self, name: FrameName) -> av.VideoFrame | None:
        """Decode up to a frame and return it, or None if the clip has no frame of that timestamp."""
        while True:
            frame = self._ahead or next(self._frames, None)
            self._ahead = frame
            if frame is None:
                return None
            if self._first is None:
                self._first = frame.pts
            if frame.pts is not None and frame.pts >= name.pts:
                # It stays in `_ahead`: the next request may be for this frame again.
                return frame if frame.pts == name.pts else None
            self._passed, self._ahead = frame.pts, None

    def _is_elsewhere(self, name: FrameName) -> bool:
        """Return whether a frame is behind the decoder, or so far ahead that seeking is cheaper than decoding to it."""
        if self._start is None or name.key < self._start:
            return True
        if self._passed is not None and name.pts <= self._passed:
            return True
        here = self._ahead.pts if self._ahead else self._passed
        return name.key - self._back > (self._start if here is None else here) + self._worth_a_jump

    def _jump(self, key: int) -> None:
        """Seek to a keyframe, so that its packet is the next one to be decoded."""
        self._passed = self._ahead = self._first = self._second = None
        if key not in self._unreachable:
            for packets in self._from_before(key):
                for packet in packets:
                    if packet.pts == key and packet.is_keyframe:
                        self._stream.codec_context.flush_buffers()
                        self._start, self._frames = key, self._decode(packet, packets)
                        return
                    if packet.dts is not None and packet.dts > key:
                        break
            # A recording that starts inside a group of pictures has no keyframe for its first frames.
            self._unreachable.add(key)
        self._start, self._frames = None, iter(())

    def _keyframe_until(self, pts: int) -> int | None:
        """Return the timestamp of the last keyframe that is displayed at `pts` or before, or None."""
        for packets in self._from_before(pts):
            found = None
            for packet in packets:
                if packet.is_keyframe and packet.pts is not None and packet.pts <= pts:
                    found = packet.pts
                if packet.dts is not None and packet.dts > pts:
                    break
            if found is not None:
                return int(found)
        return None

    def _from_before(self, pts: int) -> Iterator[Iterator[Any]]:
        """Yield the packets from a position that should lie before a timestamp, then from ever earlier positions.

        The container's index may be coarse, or in decoding order.
        """
        back = 0
        for _ in range(_JUMPS - 1):
            self._container.seek(pts - back, stream=self._stream, backward=True)
            yield packets_of(self._container, self._stream)
            back = max(1, back * 4, self._worth_a_jump)
        self._container.seek(0, backward=True)
        yield packets_of(self._container, self._stream)

    def _decode(self, first: Any, rest: Iterator[Any]) -> Iterator[av.VideoFrame]:
        import av

        packets = [first]
        while packets:
            packet = packets.pop()
            if packet is not None:
                self._note(packet)
            try:
                for frame in self._stream.codec_context.decode(packet):
                    if frame.is_corrupt and frame.pts in self._seen:
                        self._damaged.append(self._seen[frame.pts].order)
                    yield frame
            except av.error.EOFError:
                return
            except av.error.InvalidDataError:
                # Damage in a frame that is no reference does not affect other frames.
                if packet is not None and not packet.is_disposable:
                    self._damaged.append(self._n_seen)
            if packet is not None:
                packets.append(next(rest, None))

    def _note(self, packet: Any) -> None:
        """Record a packet, and drop the records of packets that are no longer needed."""
        self._n_seen += 1
        if packet.is_keyframe:
            if self._second is None and packet.pts != self._start:
                self._second = packet.pts
            # Leading pictures of this group may still refer to the previous group.
            self._damaged = [order for order in self._damaged if order >= self._group]
            self._seen = {pts: seen for pts, seen in self._seen.items() if seen.order >= self._group}
            self._group = self._n_seen
        if packet.pts is not None:
            self._seen[packet.pts] = _Packet(packet.size, self._n_seen)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._frames, self._ahead, self._start = iter(()), None, None
        self._container.close()


DAMAGE_RULES = (Clip._find, Clip._wrong, Clip._decode, Clip._note)  # noqa: SLF001 - they are named here so that stages can name them
"""The functions that decide which frames are damaged: part of the code of every stage that reads pixels."""


def _planes(frame: av.VideoFrame) -> list[npt.NDArray[np.uint8]]:
    """Return the bytes of the planes without padding, as views of shape (rows, bytes per row), uint8."""
    sample_bytes = (max(component.bits for component in frame.format.components) + 7) // 8
    views = []
    for number, plane in enumerate(frame.planes):
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
        if len(frame.planes) == 1:
            n_bytes = plane.width * frame.format.padded_bits_per_pixel // 8
        else:
            # Formats named nv… interleave both chroma channels in their second plane.
            n_bytes = plane.width * sample_bytes * (2 if number and frame.format.name.startswith("nv") else 1)
        views.append(rows[:, :n_bytes])
    return views
