"""Decoding of a clip from one of its packets on: which frame each packet becomes, and what damage was found."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    # Importing PyAV takes a tenth of a second, which programs without clips should not spend.
    import av

# A decoder holds back at most 16 frames (H.264, A.3.1), each of up to two packets, besides those in its pipeline.
MOST_DELAYED = 64
"""A frame that has not come this many packets after its own does not come at all."""

DAMAGED = "the frame's packet is damaged"
_BUILDS_ON_DAMAGED = "the frame is decoded from another one whose packet is damaged"

Tagged = tuple[int, Any]
"""A packet and its tag: the timestamp of its image, or its place among the packets of the stream."""


class _Fed(NamedTuple):
    """A packet that was given to the decoder: its size in bytes, and its position in decoding order."""

    size_bytes: int
    order: int


class _Damage(NamedTuple):
    """A packet that does not decode, and that other frames may be decoded from."""

    order: int
    tag: int


# Codecs in which no image is decoded from a B frame.
_PLAIN_B = ("mpeg1video", "mpeg2video", "mpeg4")


class Decoder:
    """Frames of a clip from the packet with the tag `start` on, in the order of display.

    `first` is the tag of the first frame that came; `first_shown` the lowest one, from `start` on, of the packets whose
    frames are to be shown; `second` that of the first keyframe after `start`; and `last` that of the last packet that
    was decoded. `lost` are the tags of packets that do not decode. What decoders give after the packet that is
    `first_damaged` may bear traces of it, even after the next keyframe.
    """

    def __init__(self, stream: Any, packets: Iterator[Tagged], start: int) -> None:
        from av.video.frame import PictureType

        self._b_picture = PictureType.B
        self._context = stream.codec_context
        # There, packets are also called corrupt for a jump of a counter, as where recordings were joined.
        self._is_broadcast = stream.container.format.name == "mpegts"
        if not self._context.is_open:
            self._context.thread_count = 1
            # The decoder then hands each packet's tag on to its frame: not all containers stamp every packet.
            self._context.copy_opaque = True
        self._context.flush_buffers()
        self.start = start
        self.first: int | None = None
        self.first_shown: int | None = None
        self.second: int | None = None
        self.last = start
        self.lost: list[int] = []
        self.first_damaged: int | None = None
        self.passed: set[int] = set()
        self._ahead: deque[tuple[int, av.VideoFrame]] = deque()
        self._n_fed = 0
        self._fed: dict[int, _Fed] = {}
        self._damaged: list[_Damage] = []
        self._group = 0
        self._frames = self._decode(packets)

    def frame(self) -> tuple[int, av.VideoFrame] | None:
        """Return the next frame and its packet's tag, without passing it; None at the end."""
        self._fetch(1)
        if self.first is None and self._ahead:
            self.first = self._ahead[0][0]
        return self.ahead

    @property
    def ahead(self) -> tuple[int, av.VideoFrame] | None:
        """Return the next frame and its packet's tag, if it was requested before."""
        return self._ahead[0] if self._ahead else None

    def _fetch(self, n: int) -> None:
        """Decode until so many frames are ahead, or to the end."""
        while len(self._ahead) < n and (found := next(self._frames, None)):
            self._ahead.append(found)

    def skip(self) -> None:
        """Pass the next frame."""
        if self._ahead:
            self.passed.add(self._ahead.popleft()[0])

    def ends_damaged(self) -> bool:
        """End decoding, and return whether damage was met, also in frames that the decoder has not given yet."""
        import av

        try:
            for frame in self._context.decode(None):
                self._check(frame)
        except av.error.EOFError:
            pass
        except av.error.InvalidDataError:
            return True
        return self.first_damaged is not None

    def has_passed(self, tag: int) -> bool:
        """Return whether a frame came before the next one, of packets that are tagged by their places."""
        return tag in self.passed or tag < next(iter(self._fed), tag)

    def size_of(self, tag: int) -> int:
        """Return the size in bytes of a packet that was decoded lately; 0 for others."""
        return self._fed[tag].size_bytes if tag in self._fed else 0

    def wrong(self, frame: av.VideoFrame | None, tag: int, key: int) -> str:
        """Return why a frame must not be used, or "": decoders continue after damage and return partly wrong images."""
        if frame is None or frame.is_corrupt or tag in self.lost:
            return DAMAGED
        if frame.pict_type == self._b_picture:
            # It may be decoded from an image that is shown after it, of which damage is not known before.
            self._fetch(2 + self._context.reorder_depth)
        packet = self._fed.get(tag, _Fed(0, self._n_fed))
        start = self._fed.get(key, packet).order
        leads = tag < key
        if any(start <= hurt.order < packet.order and leads >= (hurt.tag < key) for hurt in self._damaged):
            return _BUILDS_ON_DAMAGED
        return ""

    def _decode(self, packets: Iterator[Tagged]) -> Iterator[tuple[int, av.VideoFrame]]:
        import av

        more = True
        while more:
            tag, packet = next(packets, (None, None))
            more = packet is not None
            if packet is not None and tag is not None:
                self._note(tag, packet)
                # PyAV keeps these objects by their identity, so that each packet needs one of its own.
                packet.opaque = [tag]
                if packet.is_corrupt and not self._is_broadcast:
                    # A part of it is missing, although decoders may fill in something without a word.
                    self.lost.append(tag)
                    self._meet_damage(tag, packet.is_disposable)
            try:
                for frame in self._context.decode(packet):
                    came = self._check(frame)
                    if came is not None:
                        yield came, frame
            except av.error.EOFError:
                return
            except av.error.InvalidDataError:
                if packet is not None and tag is not None:
                    self.lost.append(tag)
                    self._meet_damage(tag, packet.is_disposable)

    def _check(self, frame: av.VideoFrame) -> int | None:
        """Return the tag of a frame's packet, and record whether it is damaged."""
        held: Any = frame.opaque
        if held is not None and frame.is_corrupt:
            self._meet_damage(held[0], frame.pict_type == self._b_picture and self._context.name in _PLAIN_B)
        return None if held is None else int(held[0])

    def _meet_damage(self, tag: int, is_no_reference: bool) -> None:
        """Record a damaged packet; it does not affect other frames if these are not decoded from it."""
        if self.first_damaged is None:
            self.first_damaged = tag
        if tag in self._fed and not is_no_reference:
            self._damaged.append(_Damage(self._fed[tag].order, tag))

    def _note(self, tag: int, packet: Any) -> None:
        """Record a packet, and drop the records of packets that are no longer needed."""
        self._n_fed += 1
        self.last = tag
        if packet.is_keyframe:
            if self.second is None and tag != self.start:
                self.second = tag
            # Leading frames of this group may still refer to the previous group.
            oldest = min(self._group, self._n_fed - MOST_DELAYED)
            self._damaged = [hurt for hurt in self._damaged if hurt.order >= oldest]
            self._fed = {tag: fed for tag, fed in self._fed.items() if fed.order >= oldest}
            self.passed &= self._fed.keys()
            self._group = self._n_fed
        self._fed[tag] = _Fed(packet.size, self._n_fed)
        if not packet.is_discard and tag >= self.start and (self.first_shown is None or tag < self.first_shown):
            self.first_shown = tag
