"""Images whose EXIF turns them, written as they are displayed, for readers that know EXIF and those that do not."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.JpegImagePlugin import get_sampling

from transforms.frames.image import CorruptImageError, Header, ImageParams, decode_color, encode_jpeg, read_header
from transforms.frames.orientation import ON_ITS_SIDE, turned

_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SAMPLINGS = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}
_PNG_DEPTH_AT, _DEEP = 24, 16
_LOSSLESS_WEBP = 101
_SMALL = 64
_SAME = 6.0
"""How far luma may differ on average, 0..255, between an image and itself after it was encoded again."""


def upright(data: bytes) -> bytes | None:
    """Return an image in its own format, with the pixels as displayed and no orientation; None if it is so already.

    PNG and WebP keep every pixel. A JPEG is encoded with the quantization that it has, so that little more is lost
    than by rounding. Time, camera and colour profile stay. Raises `CorruptImageError` for what cannot be decoded.
    """
    header = read_header(data)
    if header.orientation == 1:
        return None
    if header.format == "png" and data[_PNG_DEPTH_AT] == _DEEP:
        # Pillow reads colours of 16 bits as 8.
        deep = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if deep is None:
            raise CorruptImageError("png does not decode: truncated or damaged")
        return bytes(cv2.imencode(".png", _turned_deep(deep, header.orientation))[1])
    try:
        return _by_pillow(data, header)
    except Exception:
        # Pillow's parsers raise any exception; what it refuses, OpenCV may read.
        picture = decode_color(data, header, ImageParams())
        if header.format == "jpeg":
            return encode_jpeg(picture)
        options = [cv2.IMWRITE_WEBP_QUALITY, _LOSSLESS_WEBP] if header.format == "webp" else []
        return bytes(cv2.imencode(f".{header.format}", picture, options)[1])


def _by_pillow(data: bytes, header: Header) -> bytes:
    with Image.open(io.BytesIO(data)) as picture:
        options: dict[str, Any] = {"icc_profile": picture.info.get("icc_profile")}
        exif = picture.getexif()
        if exif.pop(_ORIENTATION, None) is not None and len(exif):
            options["exif"] = exif.tobytes()
        if header.format == "jpeg":
            tables = getattr(picture, "quantization", {})
            is_turned = header.orientation >= ON_ITS_SIDE
            options["qtables"] = {at: _transposed(table) if is_turned else table for at, table in tables.items()}
            sampling = _SAMPLINGS.get(get_sampling(picture), "4:4:4")
            # Half as many colours across become half as many down, which Pillow does not write.
            options["subsampling"] = "4:4:4" if is_turned and sampling == "4:2:2" else sampling
        elif header.format == "webp":
            options |= {"lossless": True, "exact": True}
        sink = io.BytesIO()
        picture.transpose(_TURNS[header.orientation]).save(sink, header.format, **options)
    return sink.getvalue()


def _transposed(table: Any) -> list[int]:
    """Return a quantization table, 64 numbers in rows, for an image on its side."""
    return [int(value) for value in np.asarray(table).reshape(8, 8).T.reshape(-1)]


def _turned_deep(picture: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Return an image of 16 bits oriented for display; `turned` does so for its bytes."""
    flat = picture.reshape(*picture.shape[:2], -1)
    halves = turned(np.ascontiguousarray(flat).view(np.uint8), orientation)
    return np.ascontiguousarray(halves).view(picture.dtype)


def is_displayed(one: bytes, original: bytes) -> bool | None:
    """Return whether an image that has no orientation is another, turned by its EXIF, as displayed.

    False: it has the pixels as they are stored. None: it is neither, or cannot be decoded.
    """
    try:
        headers = [read_header(data) for data in (one, original)]
        if headers[0].orientation != 1 or headers[1].orientation == 1:
            return None
        found, displayed = (
            decode_color(data, header, ImageParams()) for data, header in zip((one, original), headers, strict=True)
        )
        stored = turned(displayed, _BACK.get(headers[1].orientation, headers[1].orientation))
    except CorruptImageError:
        return None
    apart = {True: _difference(found, displayed), False: _difference(found, stored)}
    # Where both fit, it shows the same both ways.
    nearest = min(apart, key=lambda shown: apart[shown])
    return nearest if apart[nearest] <= _SAME else None


_BACK = {6: 8, 8: 6}
"""The orientations that undo others; all others undo themselves."""


def _difference(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> float:
    """Return how far two images differ on average; infinity where their sizes do."""
    if one.shape != other.shape:
        return float("inf")
    size = (min(_SMALL, one.shape[1]), min(_SMALL, one.shape[0]))
    small = [cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.float64) for picture in (one, other)]
    return float(np.abs(small[0] - small[1]).mean())
