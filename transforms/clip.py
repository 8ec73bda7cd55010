"""Video clips: which frames there are, and exactly the one that is asked for.

A frame of a clip is named by its presentation timestamp and by that of the keyframe at which decoding has to begin, so
that whoever knows its name can have it without a look at the rest of the clip: `clip.mp4#pts=12800&key=10240`.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import cv2
import numpy as np
import numpy.typing as npt
from blake3 import blake3

from transforms import buckets
from transforms.image import Color, CorruptImageError, Gray, ImageParams, refuse_unless_sane, shrink
from transforms.objectfile import ObjectFile
from transforms.source import FileChangingError, NoFileError

if TYPE_CHECKING:
    # A tenth of a second of import, which those who have no clips need not pay.
    import av


EXTENSIONS = ("mp4", "m4v", "mov", "mkv", "webm", "avi", "ts", "mts", "m2ts", "mpg", "mpeg", "3gp", "flv", "wmv")
_FRAGMENT = r"#pts=(?P<pts>-?[0-9]+)&key=(?P<key>-?[0-9]+)$"
_NAME = re.compile(r"(?P<path>.+)" + _FRAGMENT, re.DOTALL)
KEY_PATTERN = _FRAGMENT
"""Finds `pts` and `key` in the name of a frame of a clip, as an RE2 pattern with named groups."""

_DAMAGED = "the frame's packet is damaged"
_BUILDS_ON_DAMAGED = "the frame is decoded from another one whose packet is damaged"

# Up to so many frames are decoded and thrown away before a jump to the next keyframe is worth its price.
_WORTH_A_JUMP = 12
_JUMPS = 8
_PLANAR = frozenset({"yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "nv12", "nv21", "gray"})
_FULL_RANGE = 2
# Luma as most clips store it goes from 16 to 235 (ITU-R BT.601, BT.709).
_BLACK, _TO_FULL = 16.0, 255.0 / 219.0


class ClipError(OSError):
    """The file is no clip that can be opened."""


class FrameName(NamedTuple):
    """Where a frame of a clip is found: file, and timestamps in units of the stream's time base."""

    path: str
    pts: int
    key: int

    @classmethod
    def parse(cls, uri: str) -> FrameName | None:
        """Return the parts of a name, or None if it is that of an ordinary file."""
        found = _NAME.fullmatch(uri)
        return cls(found["path"], int(found["pts"]), int(found["key"])) if found else None


class ClipFrame:
    """A decoded frame of a stream that counts time in units of `base`. Pictures are turned as the metadata ask."""

    def __init__(self, frame: av.VideoFrame, base: Fraction | None) -> None:
        self._frame = frame
        # What the decoder holds back to the end comes out of it without one.
        self._base = frame.time_base or base
        self._turns = round(frame.rotation / 90) % 4

    @property
    def size(self) -> tuple[int, int]:
        """Return width and height in pixels as shown."""
        size = (self._frame.width, self._frame.height)
        return size if self._turns % 2 == 0 else size[::-1]

    @property
    def time_ns(self) -> int | None:
        """Return the presentation time in ns since the clip's zero."""
        if self._base is None or self._frame.pts is None:
            return None
        return int(self._frame.pts * self._base * 1_000_000_000)

    def digest(self) -> bytes:
        """Return the BLAKE3 digest of the decoded planes, without the padding of their lines."""
        hasher = blake3(f"{self._frame.format.name} {self._frame.width}x{self._frame.height}".encode())
        for plane in _planes(self._frame):
            hasher.update(np.ascontiguousarray(plane).data)
        return hasher.digest()

    def gray(self, params: ImageParams) -> Gray:
        """Return the luma, 0..255 whatever range the clip stores, at the size of `params`, shape (H, W), uint8."""
        refuse_unless_sane(self._frame.width, self._frame.height, params)
        name = self._frame.format.name
        if name in _PLANAR:
            gray = shrink(_planes(self._frame)[0], params.long_side)
            is_full = name.startswith(("yuvj", "gray")) or self._frame.color_range == _FULL_RANGE
            gray = gray.copy() if is_full else cv2.convertScaleAbs(cv2.subtract(gray, _BLACK), alpha=_TO_FULL)
        else:
            gray = shrink(_as_bytes(self._frame.reformat(format="gray").to_ndarray()), params.long_side)
        return turned(gray, self._turns)

    def color(self) -> Color:
        """Return the picture as BGR, shape (H, W, 3), uint8."""
        return turned(_as_bytes(self._frame.to_ndarray(format="bgr24")), self._turns)


def _as_bytes(picture: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    return picture.astype(np.uint8, copy=False)


def turned(picture: npt.NDArray[np.uint8], quarters: int) -> npt.NDArray[np.uint8]:
    """Turn an (H, W, …) picture counterclockwise by quarters of a full turn."""
    return np.ascontiguousarray(np.rot90(picture, quarters)) if quarters else picture


class Found(NamedTuple):
    """What a clip gives for a name: the frame, or None and what is `wrong`; and size and mtime as they are listed."""

    frame: ClipFrame | None
    wrong: str
    size_bytes: int
    mtime_ns: int
    read_ns: int
    changed_ns: int | None = None


class _Packet(NamedTuple):
    """The size of a packet, and its place among those that were decoded."""

    size_bytes: int
    order: int


class Clip:
    """A clip that gives frames by name. Frames asked for in order are decoded once; use as a context manager."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._source = clip_source(path)
        self._status = _status(self._source)
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
        rate, base = self._stream.average_rate, self._stream.time_base
        self._worth_a_jump = int(_WORTH_A_JUMP / (rate * base)) if rate and base else 0

    @property
    def codec(self) -> str:
        """Return the name of the clip's video format, `h264` say."""
        return str(self._stream.codec_context.name)

    def find(self, name: FrameName) -> Found:
        """Look for a frame. Raises `FileChangingError` if the clip is no longer the one that was opened."""
        if _status(self._source) != self._status:
            raise FileChangingError(f"{self._path} changed while it was read")
        read_ns = time.time_ns()
        frame = self._find(name)
        packet = self._seen.get(name.pts, _Packet(0, self._n_seen))
        wrong = self._wrong(frame, packet, name)
        given = ClipFrame(frame, self._stream.time_base) if frame and not wrong else None
        return Found(given, wrong, packet.size_bytes, self._status[1], read_ns, self._changed_ns)

    def _wrong(self, frame: av.VideoFrame | None, packet: _Packet, name: FrameName) -> str:
        """Return what speaks against a frame; a decoder goes on after damage, and shows what it can."""
        if frame is None or frame.is_corrupt:
            return _DAMAGED
        start = self._seen.get(name.key, packet).order
        return _BUILDS_ON_DAMAGED if any(start <= order < packet.order for order in self._damaged) else ""

    def frame(self, name: FrameName) -> ClipFrame:
        """Return a frame. Raises `CorruptImageError` where there is none, and what `find` raises."""
        found = self.find(name)
        if found.frame is None:
            raise CorruptImageError(found.wrong)
        return found.frame

    def _find(self, name: FrameName) -> av.VideoFrame | None:
        if self._is_elsewhere(name):
            self._jump(name.key)
        while True:
            frame = self._ahead or next(self._frames, None)
            self._ahead = frame
            if frame is None:
                return None
            if frame.pts is not None and frame.pts >= name.pts:
                # It stays where it is, for whoever asks for it, or for one before it that does not exist.
                return frame if frame.pts == name.pts else None
            self._passed, self._ahead = frame.pts, None

    def _is_elsewhere(self, name: FrameName) -> bool:
        """Say whether a frame lies behind, or so far ahead that a jump is cheaper than decoding what lies between."""
        if self._start is None or name.key < self._start:
            return True
        if self._passed is not None and name.pts <= self._passed:
            return True
        here = self._ahead.pts if self._ahead else self._passed
        return name.key > (self._start if here is None else here) + self._worth_a_jump

    def _jump(self, key: int) -> None:
        """Go to a keyframe, so that its packet is the next one to be decoded."""
        self._start, self._passed, self._ahead = key, None, None
        back = 0
        for attempt in range(_JUMPS):
            if attempt == _JUMPS - 1:
                self._container.seek(0, backward=True)
            else:
                self._container.seek(key - back, stream=self._stream, backward=True)
            packets = packets_of(self._container, self._stream)
            for packet in packets:
                if packet.pts == key and packet.is_keyframe:
                    self._stream.codec_context.flush_buffers()
                    self._frames = self._decode(packet, packets)
                    return
                if packet.dts is not None and packet.dts > key:
                    break
            # The container's index is coarse or counts in order of decoding: begin earlier.
            back = max(1, back * 4, self._worth_a_jump)
        self._frames = iter(())

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
                # A frame that no other one is decoded from takes none with it.
                if packet is not None and not packet.is_disposable:
                    self._damaged.append(self._n_seen)
            if packet is not None:
                packets.append(next(rest, None))

    def _note(self, packet: Any) -> None:
        """Remember a packet, and forget those that nobody can ask for any more."""
        self._n_seen += 1
        if packet.is_keyframe:
            # Leading pictures of this group may still be decoded from the one before.
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
        """Let go of the file."""
        self._frames, self._ahead, self._start = iter(()), None, None
        self._container.close()


DAMAGE_RULES = (Clip._wrong, Clip._decode, Clip._note)  # noqa: SLF001 - they are named here so that stages can name them
"""What decides which frames are damaged, and so is a part of what every stage that reads pixels computes."""


def clip_source(path: str) -> Path | ObjectFile:
    """Return what a clip is read from. Raises `OSError` for an object that is not there."""
    return ObjectFile(buckets.head(path)) if buckets.is_object(path) else Path(path)


def _status(source: Path | ObjectFile) -> tuple[int, int, int]:
    if isinstance(source, ObjectFile):
        # Every read asks for just this content of it.
        return source.entry.size_bytes, source.entry.mtime_ns, 0
    found = source.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino


def open_clip(source: Path | ObjectFile) -> Any:
    """Open a clip. Raises `ClipError` for what holds no video, `OSError` for what cannot be read."""
    import av

    if isinstance(source, Path):
        if not stat.S_ISREG(source.stat().st_mode):
            raise NoFileError(f"{source} is no regular file")
        if not os.access(source, os.R_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(source))
    try:
        container = av.open(str(source) if isinstance(source, Path) else source, metadata_errors="replace")
    except (av.error.FFmpegError, ValueError) as error:
        raise ClipError(f"expected a video clip, found something else ({error})") from error
    streams = container.streams.video
    # Decoding a stream whose parameters are unknown ends the process.
    if not streams or streams[0].codec_context is None:
        container.close()
        raise ClipError("expected a video stream that can be decoded, found none")
    return container


def packets_of(container: Any, stream: Any) -> Iterator[Any]:
    """Yield the stream's packets in order of decoding; where the file is damaged, those that can be read."""
    import av

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.error.EOFError):
            return
        except av.error.InvalidDataError:
            continue
        if packet.size:
            yield packet


def _planes(frame: av.VideoFrame) -> list[npt.NDArray[np.uint8]]:
    """Return the bytes of the planes without padding, as views of shape (rows, bytes per row)."""
    sample_bytes = (max(component.bits for component in frame.format.components) + 7) // 8
    views = []
    for number, plane in enumerate(frame.planes):
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
        if len(frame.planes) == 1:
            n_bytes = plane.width * frame.format.padded_bits_per_pixel // 8
        else:
            # Formats named nv… hold both colour differences in their second plane.
            n_bytes = plane.width * sample_bytes * (2 if number and frame.format.name.startswith("nv") else 1)
        views.append(rows[:, :n_bytes])
    return views
