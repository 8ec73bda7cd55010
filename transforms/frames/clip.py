"""Random access to the frames of a video clip, exact to the frame.

A frame of a clip is named by its presentation timestamp and by that of the keyframe at which decoding must start, so
that it can be decoded without an index of the clip: `clip.mp4#pts=12800&key=10240`. Where the container does not stamp
every image with its time, the name also has the place of its packet in the stream, and `key` is the place of the
packet at which decoding starts: `clip.avi#pts=7&key=0&packet=8`.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from transforms.frames.clip_decoder import DAMAGED, MOST_DELAYED, Decoder, Tagged
from transforms.frames.clip_frame import ClipFrame
from transforms.frames.container import clip_source, open_clip, packets_of, status_of, video_of
from transforms.frames.image import CorruptImageError
from transforms.io.frame_bytes import FileChangingError

if TYPE_CHECKING:
    import av


EXTENSIONS = ("mp4", "m4v", "mov", "mkv", "webm", "avi", "ts", "mts", "m2ts", "mpg", "mpeg", "3gp", "flv", "wmv")
_FRAGMENT = r"#pts=(?P<pts>-?[0-9]+)&key=(?P<key>-?[0-9]+)(?:&packet=(?P<packet>[0-9]+))?$"
_NAME = re.compile(r"(?P<path>.+)" + _FRAGMENT, re.DOTALL)
KEY_PATTERN = _FRAGMENT
"""Matches `pts`, `key` and `packet` in the name of a clip's frame, as an RE2 pattern with named groups."""

# Seeking to a keyframe costs about as much as decoding this many frames.
_WORTH_A_JUMP = 12
_JUMPS = 8


class FrameName(NamedTuple):
    """The name of a clip's frame: path of the clip, its time, and the keyframe at which decoding starts.

    `pts` is in units of the stream's time base, and so is `key`, unless the frame is named by its `packet`: then both
    `packet` and `key` are places in the stream of packets, from 0 on.
    """

    path: str
    pts: int
    key: int
    packet: int | None = None

    @property
    def tag(self) -> int:
        """Return what identifies the frame's packet: its place where that is known, or else its timestamp."""
        return self.pts if self.packet is None else self.packet

    @classmethod
    def parse(cls, uri: str) -> FrameName | None:
        """Return the parts of a URI, or None if it names an ordinary file."""
        found = _NAME.fullmatch(uri)
        if found is None:
            return None
        packet = None if found["packet"] is None else int(found["packet"])
        return cls(found["path"], int(found["pts"]), int(found["key"]), packet)


class FrameLookup(NamedTuple):
    """The result of `Clip.find`: the frame, or None and the reason `wrong`; the packet's size and the file's mtime."""

    frame: ClipFrame | None
    wrong: str
    size_bytes: int
    mtime_ns: int
    read_ns: int
    changed_ns: int | None = None


class Clip:
    """A video clip that returns frames by name; use as a context manager.

    Frames that are requested in presentation order are decoded once.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._source = clip_source(path)
        self._status = status_of(self._source)
        self._changed_ns = self._source.stat().st_ctime_ns if isinstance(self._source, Path) else None
        self._open()
        self._run: Decoder | None = None
        # By timestamps: how far before a frame's keyframe decoding starts, and what was learned about the clip.
        self._passed: int | None = None
        self._back = 0
        self._earliest: int | None = None
        self._nothing_before: float = -math.inf
        self._unreachable: set[int] = set()
        rate, base = self._stream.average_rate, self._stream.time_base
        self._worth_a_jump = int(_WORTH_A_JUMP / (rate * base)) if rate and base else 0
        # By places: the packets that were not read yet, and whether decoding must always start at the first one.
        self._rest: Iterator[Tagged] | None = None
        self._n_read = 0
        self._only_whole = False

    def _open(self) -> None:
        self._container = open_clip(self._source)
        self._stream = video_of(self._container)

    def _reopen(self) -> None:
        self._run = None
        self._container.close()
        self._open()

    @property
    def codec(self) -> str:
        """Return the name of the video codec, such as `h264`."""
        return str(self._stream.codec_context.name)

    def find(self, name: FrameName) -> FrameLookup:
        """Look up a frame. Raises `FileChangingError` if the file has changed since it was opened."""
        if status_of(self._source) != self._status:
            raise FileChangingError(f"{self._path} changed while it was read")
        read_ns = time.time_ns()
        if (name.packet is None) == (self._rest is not None):
            self._run = self._rest = None
        frame = self._find_by_time(name) if name.packet is None else self._find_by_place(name.packet, name.key)
        run = self._run
        wrong = run.wrong(frame, name.tag, name.key) if run else DAMAGED
        size_bytes = run.size_of(name.tag) if run else 0
        given = ClipFrame(frame, name.pts, self._stream.time_base) if frame and not wrong else None
        return FrameLookup(given, wrong, size_bytes, self._status[1], read_ns, self._changed_ns)

    def frame(self, name: FrameName) -> ClipFrame:
        """Return a frame. Raises `CorruptImageError` if it is missing or damaged, and the errors of `find`."""
        found = self.find(name)
        if found.frame is None:
            raise CorruptImageError(found.wrong)
        return found.frame

    def _find_by_place(self, packet: int, key: int) -> av.VideoFrame | None:
        start = 0 if self._only_whole else key
        run = self._run
        if (
            run is None
            or start < run.start
            or run.has_passed(packet)
            or _is_hurt(run, start)
            or start > run.last + _WORTH_A_JUMP
        ):
            run = self._start_at(start)
        frame = self._walk_to(run, packet)
        is_settled = frame is not None and (packet == run.start or run.has_passed(run.start))
        if run.start and not is_settled and not _is_hurt(run, packet + 1):
            # Decoding cannot start at this keyframe, as with intra refresh. From the first packet on it is what
            # everyone sees.
            self._only_whole = True
            run = self._start_at(0)
            frame = self._walk_to(run, packet)
        return frame

    def _start_at(self, place: int) -> Decoder:
        """Start decoding at the packet of a place."""
        if self._rest is None or self._n_read > place or _ends_damaged(self._run):
            # Seeking to the start does not give the packets of a new file in all containers.
            self._reopen()
            self._n_read = 0
            self._rest = self._numbered()
        while self._n_read < place and next(self._rest, None):
            pass
        self._run = Decoder(self._stream, self._rest, place)
        return self._run

    def _numbered(self) -> Iterator[Tagged]:
        for packet in packets_of(self._container, self._stream):
            self._n_read += 1
            yield self._n_read - 1, packet

    @staticmethod
    def _walk_to(run: Decoder, packet: int) -> av.VideoFrame | None:
        """Decode up to the frame of a packet and return it, or None if the packet gives no frame."""
        while found := run.frame():
            if found[0] == packet:
                return found[1]
            if packet in run.lost or run.last > packet + MOST_DELAYED:
                return None
            run.skip()
        return None

    def _find_by_time(self, name: FrameName) -> av.VideoFrame | None:
        if self._is_elsewhere(name):
            earlier = self._keyframe_until(name.key - self._back) if self._back else None
            self._jump(name.key if earlier is None else earlier)
        frame = self._walk(name)
        while self._run is not None and not self._is_settled(name) and name.pts >= self._nothing_before:
            start, first = self._run.start, self._run.first
            if start == self._earliest:
                break
            earlier = self._keyframe_until(name.key - max(1, 2 * (name.key - start)))
            if earlier is None:
                self._earliest = start
                if frame is None and self._passed is None:
                    self._nothing_before = math.inf if first is None else first
            # The search has moved the position in the file, from which the decoder would continue.
            self._jump(start if earlier is None else earlier)
            frame = self._walk(name)
            if earlier is not None:
                self._back = max(self._back, name.key - earlier)
        return frame

    def _is_settled(self, name: FrameName) -> bool:
        """Return whether decoding started early enough for the frame to be complete.

        With intra refresh, images are complete only some time after a keyframe. Those that the decoder first marks as
        complete may still be wrong, since it started without a reference; they are right one refresh period later.
        Images that are not to be shown, as in a clip that was cut without encoding it again, are no lack.
        """
        run = self._run
        if run is None or run.first is None or run.first_shown is None:
            return False
        late = run.first - run.first_shown
        return late <= 0 or (run.second is not None and run.second + late <= name.pts)

    def _walk(self, name: FrameName) -> av.VideoFrame | None:
        """Decode up to a frame and return it, or None if the clip has no frame of that timestamp."""
        while self._run is not None and (found := self._run.frame()):
            if found[0] >= name.pts:
                # It is not passed: the next request may be for this frame again.
                return found[1] if found[0] == name.pts else None
            self._passed = found[0]
            self._run.skip()
        return None

    def _is_elsewhere(self, name: FrameName) -> bool:
        """Return whether a frame is behind the decoder, or so far ahead that seeking is cheaper than decoding to it."""
        run = self._run
        if run is None or name.key < run.start or (not self._back and _is_hurt(run, name.key)):
            return True
        if self._passed is not None and name.pts <= self._passed:
            return True
        here = run.ahead[0] if run.ahead else self._passed
        return name.key - self._back > (run.start if here is None else here) + self._worth_a_jump

    def _jump(self, key: int) -> None:
        """Seek to a keyframe, so that its packet is the next one to be decoded."""
        if _ends_damaged(self._run):
            self._reopen()
        self._run = self._passed = None
        if key in self._unreachable:
            return
        for packets in self._from_before(key):
            for packet in packets:
                if packet.pts == key and packet.is_keyframe:
                    stamped = ((p.pts, p) for p in chain([packet], packets) if p.pts is not None)
                    self._run = Decoder(self._stream, stamped, key)
                    return
                if packet.dts is not None and packet.dts > key:
                    break
        # A recording that starts inside a group of pictures has no keyframe for its first frames.
        self._unreachable.add(key)

    def _keyframe_until(self, pts: int) -> int | None:
        """Return the timestamp of the last keyframe that is displayed at `pts` or before, or None.

        This moves the position in the file: decoding must start with `_jump` afterwards.
        """
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
        """Yield the packets from a position that should be before a timestamp, then from ever earlier positions.

        The container's index may be coarse, or in decoding order.
        """
        back = 0
        for _ in range(_JUMPS - 1):
            self._container.seek(pts - back, stream=self._stream, backward=True)
            yield packets_of(self._container, self._stream)
            back = max(1, back * 4, self._worth_a_jump)
        self._container.seek(0, backward=True)
        yield packets_of(self._container, self._stream)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._run = self._rest = None
        self._container.close()


def _is_hurt(run: Decoder, before: int) -> bool:
    """Return whether a decoder has met damage before a packet, and should not continue to it."""
    return run.first_damaged is not None and run.first_damaged < before


def _ends_damaged(run: Decoder | None) -> bool:
    """Return whether what is decoded next needs a decoder of its own, since the last one may bear traces of damage."""
    return run is not None and run.ends_damaged()


DAMAGE_RULES = (Clip._find_by_time, Clip._find_by_place, Decoder)  # noqa: SLF001 - they are named here so that stages can name them
"""What decides which frames are damaged: part of the code of every stage that reads pixels."""
