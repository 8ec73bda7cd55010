"""JPEG files as libjpeg reads them: their header, and what is missing or damaged in their data."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from transforms.frames.decoder_messages import listen
from transforms.frames.orientation import ON_ITS_SIDE, in_app1

Damage = Literal["none", "minor", "data"]
"""`minor`: only the mark at the end is missing, no pixel; `data`: a part of the data is damaged, or was lost."""

START = b"\xff\xd8"
_END = b"\xff\xd9"
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
_APP0, _APP1, _APP15 = 0xE0, 0xE1, 0xEF
_SCAN, _END_MARK = 0xDA, 0xD9
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# libjpeg's words (jerror.h), of which it prints the first it has to say of an image.
_EXTRANEOUS = re.compile(r"Corrupt JPEG data: ([0-9]+) extraneous bytes before marker 0xd9")
_PREMATURE = "premature end of data segment"
_HARMLESS = ("Unknown Adobe color transform", "Warning: unknown JFIF revision")
# libjpeg fills in this luma where it has no data.
_FILLED = 128
# Where so much of an image has no data, or so much of the data no image, they are not of one size.
_OTHER_SIZE = 0.25


class JpegHeader(NamedTuple):
    """Width and height as displayed, in pixels, and the EXIF orientation."""

    width: int
    height: int
    orientation: int


class DecodedJpeg(NamedTuple):
    """A decoded image, or None and `wrong`, the reason; `damage` is None where it is not known."""

    picture: npt.NDArray[np.uint8] | None
    damage: Damage | None
    wrong: str = ""


class _Segment(NamedTuple):
    """A marker, the place of its 0xFF, that of its data behind the length, and the end of these."""

    marker: int
    start: int
    data: int
    end: int


def read_jpeg_header(data: bytes) -> JpegHeader | None:
    """Return what the frame header and the EXIF data say, in about 3 µs; None without a frame header."""
    orientation = 0
    for segment in _segments(data):
        if segment.marker in _FRAME_HEADERS and segment.data + 5 <= len(data):
            height, width = struct.unpack_from(">HH", data, segment.data + 1)
            if orientation >= ON_ITS_SIDE:
                width, height = height, width
            return JpegHeader(width, height, orientation or 1)
        if segment.marker == _APP1 and not orientation:
            orientation = in_app1(data, segment.data, segment.end)
    return None


def decode_jpeg(data: bytes, flags: int) -> DecodedJpeg:
    """Decode a JPEG by OpenCV with the given flags, and find out whether its data are sound.

    Filler and junk between the segments of the header are no damage (ITU-T T.81, B.1.1.2, allows filler), nor are
    application segments that contradict themselves. An image of which data are missing at the end is not decoded.
    """
    data = _plain(data)
    picture, said = listen(lambda: _imdecode(data, flags))
    if picture is None:
        # OpenCV gives up where the file ends without its mark, whether or not anything else is missing.
        picture, said = listen(lambda: _imdecode(data + _END, flags))
        if picture is None or said:
            return DecodedJpeg(None, None, "truncated or damaged")
        return DecodedJpeg(picture, None if said is None else "minor")
    if said and said.startswith(_HARMLESS):
        _, said = listen(lambda: _imdecode(_plain(data, with_apps=False), flags))
    if said is None:
        return DecodedJpeg(picture, None)
    return _judged(picture, said, data)


def _judged(picture: npt.NDArray[np.uint8], said: str, data: bytes) -> DecodedJpeg:
    """Return what libjpeg's first warning means, "" for none."""
    found = _EXTRANEOUS.match(said)
    n_more = int(found[1]) if found else 0
    if not said or said.startswith(_HARMLESS) or _is_padding(data, n_more):
        return DecodedJpeg(picture, "none")
    if _PREMATURE in said and _share_filled(picture) >= _OTHER_SIZE:
        return DecodedJpeg(
            None, None, "data for much of the image are missing, or its header claims a larger size than theirs"
        )
    if n_more >= _OTHER_SIZE * len(data):
        return DecodedJpeg(None, None, "its header claims a smaller size than that of its data")
    return DecodedJpeg(picture, "data")


def _imdecode(data: bytes, flags: int) -> npt.NDArray[np.uint8] | None:
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    return None if picture is None else np.asarray(picture, np.uint8)


def _segments(data: bytes) -> Iterator[_Segment]:
    """Yield the segments up to the first scan. As in libjpeg, what is between them is skipped."""
    at, end = len(START), len(data)
    while True:
        at = data.find(b"\xff", at)
        if at < 0:
            return
        mark = at + 1
        while mark < end and data[mark] == 0xFF:
            mark += 1
        if mark + 3 > end or data[mark] == _END_MARK:
            return
        marker = data[mark]
        if not marker or marker in _WITHOUT_LENGTH:
            # A zero makes the byte before it one of data.
            at = mark + 1
            continue
        after = mark + 1 + int.from_bytes(data[mark + 1 : mark + 3], "big")
        yield _Segment(marker, mark - 1, mark + 3, after)
        if marker == _SCAN:
            return
        at = after


def _plain(data: bytes, with_apps: bool = True) -> bytes:
    """Return a JPEG without what is between the segments of its header, and without application data if so asked."""
    at = len(START)
    parts, skipped = [START], 0
    for segment in _segments(data):
        skipped += segment.start - at
        if with_apps or not _APP0 <= segment.marker <= _APP15:
            parts.append(data[segment.start : segment.end])
        at = segment.end
    return b"".join([*parts, data[at:]]) if skipped or not with_apps else data


def _share_filled(picture: npt.NDArray[np.uint8]) -> float:
    """Return the share of rows at the bottom of an image, shape (H, W) or (H, W, 3), for which there were no data."""
    has_data = (picture.reshape(len(picture), -1) != _FILLED).any(axis=1)
    return float(np.argmax(has_data[::-1]) / len(picture)) if has_data.any() else 1.0


def _is_padding(data: bytes, n_bytes: int) -> bool:
    """Return whether all of so many bytes before the mark at the end are zero."""
    end = data.rfind(_END)
    return n_bytes > 0 and not any(data[max(0, end - n_bytes) : end])
