"""From the bytes of a picture to the arrays that everything else measures."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import Annotated

import cv2
import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Le
from PIL import Image

from transforms.frames.orientation import ON_ITS_SIDE, in_app1, in_png, in_webp, turned

Gray = npt.NDArray[np.uint8]
"""A picture in grey, shape (H, W), 0..255."""

Color = npt.NDArray[np.uint8]
"""A picture in colour, shape (H, W, 3), channels blue, green, red, 0..255."""

TILES = (36, 64)
"""Rows and columns of the tile grid that motion is measured on; a tile is 20x20 pixels of a 720p picture."""

_REDUCED = {
    1: cv2.IMREAD_GRAYSCALE,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}
_REDUCED_COLOR = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
# Pillow reads headers only here; what is too large is for `ImageParams.max_megapixels` to say.
Image.MAX_IMAGE_PIXELS = None
_SMALL_SIDE = 160
_JPEG_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
_JPEG_APP1 = 0xE1
_JPEG_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


@dataclass(frozen=True)
class ImageParams:
    """At which size pictures are measured.

    `long_side`: the longer side, in pixels, of the grey picture that every measure is taken on. Pictures are brought
    to it by averaging (for JPEG mostly inside the decoder, which is also what makes it cheap) and never enlarged.
    One size for all keeps thresholds comparable between resolutions: cameras of 540 to 2160 lines looking at one scene
    get blur scores within a factor of 1.7 of one another (whole-number reductions such as 720p to 640x360 score
    highest), where a pixel more of blur makes a factor of several. The price is detail below the grid: at 640, blur
    narrower than about two pixels of a 720p picture (three of 1080p) cannot be told from none, and noise below that
    size does not count as sharpness.

    `max_megapixels`: a picture whose header claims more is called corrupt without decoding it.
    """

    long_side: Annotated[int, Ge(64), Le(8192)] = 640
    max_megapixels: Annotated[int, Ge(1), Le(1000)] = 128


class CorruptImageError(ValueError):
    """The bytes are not a picture that can be decoded."""


@dataclass(frozen=True)
class Header:
    """What a picture claims: format, size in pixels as it is shown, and which way the decoder's rows are to be turned.

    `orientation` is that of EXIF, 1 for pictures that are shown as they are stored.
    """

    format: str
    width: int
    height: int
    orientation: int = 1


def read_header(data: bytes) -> Header:
    """Return format, size and orientation of a picture without decoding it.

    Orientations are taken from where OpenCV takes them, since what reads datasets reads with that: EXIF of JPEG, PNG
    and WebP. Those of TIFF its decoder and Pillow see to themselves. Raises `CorruptImageError` where the bytes are
    empty or no known picture. JPEG is parsed here, in about 3 µs; other formats go through Pillow, whose 60 µs vanish
    beside what decoding them takes.
    """
    if not data:
        raise CorruptImageError("the file is empty")
    if data[:2] == b"\xff\xd8":
        return _jpeg_header(data)
    try:
        with Image.open(io.BytesIO(data)) as picture:
            name, size = (picture.format or "unknown").lower(), picture.size
    except Exception as error:
        # Pillow raises whatever its parsers stumble over, from struct.error to SyntaxError.
        raise CorruptImageError(f"not a picture: starts with {data[:8].hex(' ')}") from error
    turn = {"png": in_png, "webp": in_webp}.get(name)
    orientation = turn(data) if turn else 1
    return Header(name, *(size[::-1] if orientation >= ON_ITS_SIDE else size), orientation)


def _jpeg_header(data: bytes) -> Header:
    """Walk the segments of a JPEG (ITU-T T.81, annex B) to its frame header."""
    at, end = 2, len(data)
    orientation = 0
    while at + 9 <= end:
        if data[at] != 0xFF:
            break
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _JPEG_WITHOUT_LENGTH:
            at += 2
        elif marker in _JPEG_FRAME_HEADERS:
            height, width = struct.unpack_from(">HH", data, at + 5)
            if orientation >= ON_ITS_SIDE:
                width, height = height, width
            return Header("jpeg", width, height, orientation or 1)
        else:
            after = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
            if marker == _JPEG_APP1 and not orientation:
                orientation = in_app1(data, at + 4, after)
            at = after
    raise CorruptImageError("JPEG without a frame header: truncated or damaged")


def decode_gray(data: bytes, header: Header, params: ImageParams) -> Gray:
    """Decode to grey at the size of `params`.

    Returns an array of shape (height, width), dtype uint8, luma 0..255 (BT.601 weights of the decoder), whose longer
    side is `params.long_side`, or the size of `header` if that is smaller. Raises `CorruptImageError`.
    """
    refuse_unless_sane(header.width, header.height, params)
    longest = max(header.width, header.height)
    factor = _reduction(longest, params.long_side) if header.format == "jpeg" else 1
    try:
        flags = _REDUCED[factor] | cv2.IMREAD_IGNORE_ORIENTATION
        gray = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise CorruptImageError(f"{header.format} does not decode: {error.err}") from error
    if gray is None:
        raise CorruptImageError(f"{header.format} does not decode: truncated or damaged")
    return turned(shrink(gray, params.long_side), header.orientation)


def decode_color(data: bytes, header: Header, params: ImageParams, short_side: int | None = None) -> Color:
    """Decode to colour.

    Returns the picture as it is shown, of the size of `header`, or, where `short_side` pixels are enough, reduced by 2,
    4 or 8 while its shorter side has at least that many (for JPEG inside the decoder). Raises `CorruptImageError`.
    """
    refuse_unless_sane(header.width, header.height, params)
    factor = 1 if short_side is None else _reduction(min(header.width, header.height), short_side)
    return _imdecode_color(data, header, factor)


def _reduction(side: int, enough: int) -> int:
    """Return the largest reduction that a decoder offers which leaves a side `enough` pixels."""
    return next(f for f in (8, 4, 2, 1) if f == 1 or side >= f * enough)


def _imdecode_color(data: bytes, header: Header, factor: int) -> Color:
    # The decoder of TIFF turns pictures, and then squeezes them into a part of the size that they had before.
    is_late = header.format == "tiff"
    try:
        flags = _REDUCED_COLOR[1 if is_late else factor] | cv2.IMREAD_IGNORE_ORIENTATION
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise CorruptImageError(f"does not decode: {error.err}") from error
    if picture is None:
        raise CorruptImageError("does not decode: truncated or damaged")
    if is_late and factor > 1:
        size = (picture.shape[1] // factor, picture.shape[0] // factor)
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR_EXACT)
    return turned(picture, header.orientation)


def refuse_unless_sane(width: int, height: int, params: ImageParams) -> None:
    """Raise `CorruptImageError` for a size that no picture has, or that is larger than `params` allow."""
    if not width or not height:
        raise CorruptImageError(f"claims a size of {width}x{height}")
    if width * height > params.max_megapixels * 1_000_000:
        raise CorruptImageError(
            f"claims {width}x{height} pixels, more than image.max_megapixels={params.max_megapixels}"
        )


def to_small(gray: Gray) -> Gray:
    """Average an (H, W) uint8 picture down to at most 160 pixels: enough for tones, motion and hashes."""
    return shrink(gray, _SMALL_SIDE)


def to_tiles(small: Gray) -> Gray:
    """Return the mean luma of each tile of an (H, W) uint8 picture, shape (36, 64), dtype uint8."""
    return cv2.resize(small, TILES[::-1], interpolation=cv2.INTER_AREA)


def shrink(gray: Gray, long_side: int) -> Gray:
    """Bring the longer side of an (H, W) uint8 picture down to `long_side` by averaging; never enlarge.

    What is left to do after halving, a factor below two, is done by linear interpolation, whose weights hardly differ
    from those of the areas by then: at 3 to 2 they are (3/4, 1/4) for (2/3, 1/3), in a fifth of the time.
    """
    height, width = gray.shape
    longest = max(height, width)
    if longest <= long_side:
        return gray
    size = (max(1, round(width * long_side / longest)), max(1, round(height * long_side / longest)))
    # cv2's exact 2x2 average is vectorised and several times faster than its general area filter.
    while size[0] * 2 <= width and size[1] * 2 <= height and not (width % 2 or height % 2):
        gray = cv2.resize(gray, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        height, width = gray.shape
    if (width, height) == size:
        return gray
    is_near = size[0] * 2 > width and size[1] * 2 > height
    return cv2.resize(gray, size, interpolation=cv2.INTER_LINEAR if is_near else cv2.INTER_AREA)


def encode_jpeg(picture: Color) -> bytes:
    """Return a (H, W, 3) uint8 BGR picture as a JPEG of its size: how frames of clips leave the program."""
    return bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 95])[1])


def thumbnail(data: bytes, long_side: int) -> bytes:
    """Return a small JPEG in colour of a picture's bytes. Raises `CorruptImageError`."""
    header = read_header(data)
    refuse_unless_sane(header.width, header.height, ImageParams())
    factor = _reduction(max(header.width, header.height), long_side)
    return encode_small(_imdecode_color(data, header, factor), long_side)


def encode_small(picture: Color, long_side: int) -> bytes:
    """Return a (H, W, 3) uint8 BGR picture as a JPEG whose longer side is `long_side` at most."""
    scale = min(1.0, long_side / max(picture.shape[:2]))
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 78])[1])
