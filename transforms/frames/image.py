"""Decoding and resizing of images: encoded bytes to grey, colour and thumbnail arrays."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Gt, Le
from PIL import Image
from PIL.TiffImagePlugin import BITSPERSAMPLE, TiffImageFile

from transforms.frames.depth import to_8_bits
from transforms.frames.jpeg import START, Damage, decode_jpeg, read_jpeg_header
from transforms.frames.orientation import ON_ITS_SIDE, in_png, in_webp, turned

Gray = npt.NDArray[np.uint8]
"""A grey image, shape (H, W), uint8, luma 0..255."""

Color = npt.NDArray[np.uint8]
"""A colour image, shape (H, W, 3), uint8, channels blue, green, red, 0..255."""

TILES = (36, 64)
"""Rows and columns of the tile grid on which motion is measured; a tile is 20x20 pixels of a 720p image."""

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
# Pillow only reads headers here; the limit of size is `ImageParams.max_megapixels`.
Image.MAX_IMAGE_PIXELS = None
_SMALL_SIDE = 160
_PLAIN_MODES = frozenset({"L", "RGB", "I;16", "I;16B", "I", "F"})


@dataclass(frozen=True)
class ImageParams:
    """At which size images are measured.

    `long_side`: the longer side, in pixels, of the grey image on which every measure is computed. Images are reduced to
    it by averaging (for JPEG mostly inside the decoder, which saves most of the decoding time) and never enlarged. One
    size for all keeps thresholds comparable between resolutions: cameras of 540 to 2160 lines that see one scene get
    blur scores within a factor of 1.7 of one another (whole-number reductions such as 720p to 640x360 score highest),
    whereas one more pixel of blur changes the score by a factor of several. The cost is detail below the grid: at 640,
    blur narrower than about two pixels of a 720p image (three of 1080p) cannot be detected, and noise below that size
    does not count as sharpness.

    `max_megapixels`: an image whose header claims more is marked corrupt without decoding it.

    `white_level`: the value that is white, in files of more than 8 bits per sample; `frames.white_level` records it.
    None takes the highest value of 10, 12, 14 or 16 bits, of the fewest that can store the image's highest value (of
    floats 1, or else the first power of two that no value exceeds). Set it where frames of a camera may be so dark that
    fewer bits can store them, such as 4095 for 12 bits, or for counts of a thermal camera.
    """

    long_side: Annotated[int, Ge(64), Le(8192)] = 640
    max_megapixels: Annotated[int, Ge(1), Le(1000)] = 128
    white_level: Annotated[float, Gt(0)] | None = None


class CorruptImageError(ValueError):
    """The bytes are not an image that can be decoded."""


@dataclass(frozen=True)
class Header:
    """Format, displayed size in pixels and orientation of an image, as its header states them.

    `orientation` is the EXIF orientation, 1 to 8; 1 for images that are displayed as they are stored. `bits` are those
    of a sample of a TIFF; 8 for other formats, of which the header does not tell.
    """

    format: str
    width: int
    height: int
    orientation: int = 1
    bits: int = 8


class Checked(NamedTuple):
    """A grey image, what is damaged in its file (None where that is not known), and the value that is white in it.

    `white_level` is None for files of 8 bits per sample.
    """

    gray: Gray
    damage: Damage | None
    white_level: float | None


def read_header(data: bytes) -> Header:
    """Return format, size and orientation of an image without decoding it.

    Orientation is read from the EXIF data of JPEG, PNG and WebP, as OpenCV does, since programs that read datasets use
    OpenCV; for TIFF, the decoder and Pillow apply it themselves. JPEG is parsed by `jpeg`, in about 3 µs; other formats
    go through Pillow, whose 60 µs are negligible compared with decoding them. Raises `CorruptImageError` where the
    bytes are empty or no known image format.
    """
    if not data:
        raise CorruptImageError("the file is empty")
    if data.startswith(START):
        found = read_jpeg_header(data)
        if found is None:
            raise CorruptImageError("JPEG without a frame header: truncated or damaged")
        return Header("jpeg", *found)
    try:
        with Image.open(io.BytesIO(data)) as picture:
            name, size = (picture.format or "unknown").lower(), picture.size
            bits = max(picture.tag_v2.get(BITSPERSAMPLE, (8,))) if isinstance(picture, TiffImageFile) else 8
    except Exception as error:
        # Pillow's parsers raise any exception, from struct.error to SyntaxError.
        raise CorruptImageError(f"not an image: starts with {data[:8].hex(' ')}") from error
    turn = {"png": in_png, "webp": in_webp}.get(name)
    orientation = turn(data) if turn else 1
    return Header(name, *(size[::-1] if orientation >= ON_ITS_SIDE else size), orientation, bits)


def decode_gray(data: bytes, header: Header, params: ImageParams) -> Gray:
    """Decode to a grey image as `decode_checked` does."""
    return decode_checked(data, header, params).gray


def decode_checked(data: bytes, header: Header, params: ImageParams) -> Checked:
    """Decode to a grey image at the size of `params`, and find out whether its data are sound.

    The image has shape (H, W), uint8, luma 0..255 (BT.601 weights of the decoder). The longer side is
    `params.long_side`, or that of `header` if it is smaller. Raises `CorruptImageError`.
    """
    refuse_unless_sane(header.width, header.height, params)
    longest = max(header.width, header.height)
    factor = _reduction(longest, params.long_side) if header.format == "jpeg" else 1
    gray, damage, white = _imdecode(data, header, _REDUCED[factor], params)
    return Checked(turned(shrink(gray, params.long_side), header.orientation), damage, white)


def _imdecode(
    data: bytes, header: Header, flags: int, params: ImageParams, is_checked: bool = True
) -> tuple[npt.NDArray[np.uint8], Damage | None, float | None]:
    """Return a decoded image of 8 bits, its damage, and its white level if it has more than 8 bits."""
    flags |= cv2.IMREAD_IGNORE_ORIENTATION
    picture: npt.NDArray[Any] | None = None
    damage: Damage | None = "none"
    wrong = "truncated or damaged"
    # OpenCV scales samples of 10, 12 and 14 bits to 16, if the file says that they are.
    unit = 2.0 ** (16 - header.bits) if 8 < header.bits < 16 else 1.0
    is_jpeg = header.format == "jpeg"
    try:
        if not is_jpeg:
            picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_ANYDEPTH)
        elif not is_checked:
            picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        if is_jpeg and picture is None:
            picture, damage, wrong = decode_jpeg(data, flags)
    except cv2.error as error:
        wrong = str(error.err)
    if picture is None and header.format == "tiff":
        picture, wrong = _tiff_by_pillow(data, flags), "truncated, damaged, or of a kind that is not supported"
        unit = 1.0
    if picture is None:
        raise CorruptImageError(f"{header.format} does not decode: {wrong}")
    white = 2.0**header.bits - 1 if params.white_level is None and 8 < header.bits < 16 else params.white_level
    whole, white = to_8_bits(picture, None if white is None else white * unit)
    return whole, damage, None if white is None else white / unit


def _tiff_by_pillow(data: bytes, flags: int) -> npt.NDArray[Any] | None:
    """Decode a TIFF of a kind that OpenCV does not read: floats, 2 or 4 bits; None if Pillow does not either."""
    is_gray = not flags & cv2.IMREAD_COLOR
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data)) as picture:
            plain = picture if picture.mode in _PLAIN_MODES else picture.convert("L" if is_gray else "RGB")
            found = np.asarray(plain)
    except Exception:
        # Pillow's parsers raise any exception, from struct.error to SyntaxError.
        return None
    if is_gray or found.ndim == 2:
        return found if is_gray else np.repeat(found[..., None], 3, axis=2)
    return np.ascontiguousarray(found[..., ::-1])


def decode_color(data: bytes, header: Header, params: ImageParams, short_side: int | None = None) -> Color:
    """Decode to a colour image, oriented for display: shape (H, W, 3), uint8, BGR.

    The size is that of `header`. With `short_side`, the image is reduced by 2, 4 or 8 as long as its shorter side keeps
    at least that many pixels (for JPEG inside the decoder). Raises `CorruptImageError`.
    """
    refuse_unless_sane(header.width, header.height, params)
    factor = 1 if short_side is None else _reduction(min(header.width, header.height), short_side)
    return _imdecode_color(data, header, factor, params)


def _reduction(side: int, enough: int) -> int:
    """Return the largest reduction of the decoder (8, 4, 2 or 1) that leaves a side at least `enough` pixels."""
    return next(f for f in (8, 4, 2, 1) if f == 1 or side >= f * enough)


def _imdecode_color(data: bytes, header: Header, factor: int, params: ImageParams) -> Color:
    # OpenCV's TIFF decoder rotates images and then reduces them to the size before rotation, so that we reduce instead.
    is_late = header.format == "tiff"
    # Whether its data are sound was found out when the frame was measured.
    picture, _, _ = _imdecode(data, header, _REDUCED_COLOR[1 if is_late else factor], params, is_checked=False)
    if is_late and factor > 1:
        size = (picture.shape[1] // factor, picture.shape[0] // factor)
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR_EXACT)
    return turned(picture, header.orientation)


def refuse_unless_sane(width: int, height: int, params: ImageParams) -> None:
    """Raise `CorruptImageError` for a size in pixels of zero, or larger than `params` allow."""
    if not width or not height:
        raise CorruptImageError(f"claims a size of {width}x{height}")
    if width * height > params.max_megapixels * 1_000_000:
        raise CorruptImageError(
            f"claims {width}x{height} pixels, more than image.max_megapixels={params.max_megapixels}"
        )


def to_small(gray: Gray) -> Gray:
    """Reduce an (H, W) uint8 image by averaging to at most 160 pixels a side: enough for tones, motion and hashes."""
    return shrink(gray, _SMALL_SIDE)


def to_tiles(small: Gray) -> Gray:
    """Return the mean luma of each tile of an (H, W) uint8 image, shape (36, 64), uint8."""
    return cv2.resize(small, TILES[::-1], interpolation=cv2.INTER_AREA)


def shrink(gray: Gray, long_side: int) -> Gray:
    """Reduce the longer side of an (H, W) uint8 image to `long_side` by averaging; never enlarge.

    What remains after halving, a factor below two, is done by linear interpolation, whose weights are then close to
    those of area averaging: at 3 to 2 they are (3/4, 1/4) instead of (2/3, 1/3), in a fifth of the time.
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
    """Return an (H, W, 3) uint8 BGR image as a JPEG of the same size, quality 95: the format of frames of clips."""
    return bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 95])[1])


def thumbnail(data: bytes, long_side: int) -> bytes:
    """Decode an image and return it as a small colour JPEG. Raises `CorruptImageError`."""
    header = read_header(data)
    refuse_unless_sane(header.width, header.height, ImageParams())
    factor = _reduction(max(header.width, header.height), long_side)
    return encode_small(_imdecode_color(data, header, factor, ImageParams()), long_side)


def encode_small(picture: Color, long_side: int) -> bytes:
    """Return an (H, W, 3) uint8 BGR image as a JPEG, quality 78, whose longer side is at most `long_side` pixels."""
    small = limit_size(picture, long_side)
    return bytes(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 78])[1])


def limit_size(picture: Color, long_side: int) -> Color:
    """Return an (H, W, 3) uint8 BGR image with a longer side of at most `long_side` pixels."""
    scale = min(1.0, long_side / max(picture.shape[:2]))
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
