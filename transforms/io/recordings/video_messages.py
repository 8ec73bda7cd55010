"""Images of topics with compressed video: each message is one image, decoded from the last complete one on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from transforms.io.recordings.raw_image import png

if TYPE_CHECKING:
    from transforms.io.recordings.image_messages import ImageMessage

_START = re.compile(rb"\x00\x00\x01(.)", re.DOTALL)
# Types of units: an image that needs no other, or the parameters that come before one (H.264, table 7-1; H.265, 7-1).
_H264_KEY = frozenset({5, 7})
_H265_KEY = frozenset({*range(16, 22), 32, 33})
# Without images that refer to later ones, a decoder holds none back; a few more packets do no harm.
_MOST_DELAYED = 16


def is_keyframe(image: ImageMessage) -> bool:
    """Return whether decoding can begin at a message."""
    if image.format == "h264":
        return any(found[1][0] & 0x1F in _H264_KEY for found in _START.finditer(image.data))
    if image.format in {"h265", "hevc"}:
        return any(found[1][0] >> 1 & 0x3F in _H265_KEY for found in _START.finditer(image.data))
    # VP9: bit 2 of the first byte of a frame in profile 0 is 0 for keyframes. AV1: a sequence header, type 1.
    if not image.data:
        return False
    return not image.data[0] & 0x04 if image.format == "vp9" else b"\x0a" in image.data[:3]


class VideoMessages:
    """Decodes the images of one topic; those that are requested in order are decoded once.

    `image` returns the message of a number, or None where it is damaged.
    """

    def __init__(self, image: Callable[[int], ImageMessage | None], n: int) -> None:
        self._image, self._n = image, n
        self._run: Iterator[tuple[int, bytes | None]] | None = None
        self._next = 0

    def file(self, number: int) -> bytes | None:
        """Return the image of a message as a PNG, RGB; None where it does not decode, or only with errors."""
        if self._run is None or number < self._next or self._begins_later(number):
            self._next = self._first(number)
            self._run = self._decode(self._next)
        for at, found in self._run:
            self._next = at + 1
            if at == number:
                return found
        self._run = None
        return None

    def _begins_later(self, number: int) -> bool:
        """Return whether decoding can begin between the next message and another one, so that the way is shorter."""
        return any(self._is_keyframe(at) for at in range(number, self._next, -1))

    def _first(self, number: int) -> int:
        """Return the message at which decoding must begin."""
        return next((at for at in range(number, -1, -1) if self._is_keyframe(at)), 0)

    def _is_keyframe(self, at: int) -> bool:
        image = self._image(at)
        return image is not None and is_keyframe(image)

    def _decode(self, first: int) -> Iterator[tuple[int, bytes | None]]:
        """Yield each message's number and image, from one on; None for those that do not decode."""
        import av

        image = self._image(first)
        name = "hevc" if image is not None and image.format in {"h265", "hevc"} else image.format if image else "h264"
        # The type of what is created depends on the name.
        context: Any = av.CodecContext.create({"av1": "libdav1d"}.get(name, name), "r")
        context.thread_count = 1
        context.options = {"flags": "low_delay"}
        waiting: dict[int, bytes | None] = {}
        due = first
        is_damaged = False
        for at in range(first, self._n + 1):
            image = self._image(at) if at < self._n else None
            is_damaged = (is_damaged and not (image is not None and is_keyframe(image))) or (
                image is None and at < self._n
            )
            try:
                packet = None if at == self._n else av.Packet(image.data if image is not None else b"")
                if packet is not None:
                    packet.pts = packet.dts = at
                frames = context.decode(packet) if packet is None or packet.size else []
            except (av.error.FFmpegError, ValueError):
                frames, is_damaged = [], True
            for frame in frames:
                is_wrong = is_damaged or frame.is_corrupt
                waiting[frame.pts] = None if is_wrong else png(np.asarray(frame.to_ndarray(format="rgb24")))
            while due in waiting or (due <= at and (at - due > _MOST_DELAYED or at == self._n)):
                if due == self._n:
                    return
                yield due, waiting.pop(due, None)
                due += 1
