"""Raw pixels of messages as image files: PNG without compression, and TIFF for numbers that PNG cannot hold.

Encodings are those of ROS (sensor_msgs/image_encodings.hpp) and of Foxglove's RawImage.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from transforms.io.recordings.image_messages import ImageMessage

_PNG = b"\x89PNG\r\n\x1a\n"
_STORED_BYTES = 0xFFFF
_MOST_PIXELS = 1 << 30
# What OpenCV calls a Bayer pattern are the colours of its second row, from the second column on.
_BAYER = {
    "rggb": cv2.COLOR_BayerBG2BGR,
    "bggr": cv2.COLOR_BayerRG2BGR,
    "gbrg": cv2.COLOR_BayerGR2BGR,
    "grbg": cv2.COLOR_BayerGB2BGR,
}
_GRAY, _RGB, _BGR, _RGBA, _BGRA = (1, None), (3, None), (3, cv2.COLOR_BGR2RGB), (4, None), (4, cv2.COLOR_BGRA2RGBA)
_PLAIN: dict[str, tuple[type[np.generic], tuple[int, int | None]]] = {
    "mono8": (np.uint8, _GRAY),
    "8uc1": (np.uint8, _GRAY),
    "rgb8": (np.uint8, _RGB),
    "bgr8": (np.uint8, _BGR),
    "8uc3": (np.uint8, _BGR),
    "rgba8": (np.uint8, _RGBA),
    "bgra8": (np.uint8, _BGRA),
    "8uc4": (np.uint8, _BGRA),
    "mono16": (np.uint16, _GRAY),
    "16uc1": (np.uint16, _GRAY),
    "rgb16": (np.uint16, _RGB),
    "bgr16": (np.uint16, _BGR),
    "16uc3": (np.uint16, _BGR),
    "32fc1": (np.float32, _GRAY),
}
_PAIRS = {
    "yuv422": cv2.COLOR_YUV2RGB_UYVY,
    "uyvy": cv2.COLOR_YUV2RGB_UYVY,
    "yuv422_yuy2": cv2.COLOR_YUV2RGB_YUYV,
    "yuyv": cv2.COLOR_YUV2RGB_YUYV,
}
_COLOUR_TYPES = {1: 0, 3: 2, 4: 6}


def as_file(image: ImageMessage) -> bytes | None:
    """Return the pixels of a message with a raw `format` as the bytes of an image file.

    None for encodings that are not known, and where there are fewer bytes than width, height and step say. The same
    pixels always give the same bytes.
    """
    if min(image.width, image.height) < 1 or image.width * image.height > _MOST_PIXELS:
        return None
    pixels = _pixels(image)
    if pixels is None:
        return None
    if pixels.dtype != np.float32:
        return png(pixels)
    is_written, data = cv2.imencode(".tiff", pixels, [cv2.IMWRITE_TIFF_COMPRESSION, 1])
    return data.tobytes() if is_written else None


def _pixels(image: ImageMessage) -> npt.NDArray[Any] | None:
    """Return the image as grey, RGB or RGBA: shape (H, W), (H, W, 3) or (H, W, 4), uint8, uint16 or float32."""
    name = image.format.lower()
    pattern, depth = name.removeprefix("bayer_")[:4], name.removeprefix("bayer_")[4:]
    conversions: tuple[int, ...] = ()
    if name.startswith("bayer_") and pattern in _BAYER and depth in {"8", "16"}:
        pixels = _rows(image, np.uint8 if depth == "8" else np.uint16, 1)
        conversions = (_BAYER[pattern], cv2.COLOR_BGR2RGB)
    elif name in _PAIRS:
        pixels = _rows(image, np.uint8, 2) if image.width % 2 == 0 else None
        conversions = (_PAIRS[name],)
    elif name in _PLAIN:
        kind, (channels, conversion) = _PLAIN[name]
        pixels = _rows(image, kind, channels)
        conversions = () if conversion is None else (conversion,)
    else:
        return None
    for conversion in conversions:
        pixels = None if pixels is None else cv2.cvtColor(pixels, conversion)
    return pixels


def _rows(image: ImageMessage, kind: type[np.generic], channels: int) -> npt.NDArray[Any] | None:
    """Return the pixels, shape (H, W) or (H, W, channels), in the machine's order of bytes."""
    order = np.dtype(kind).newbyteorder(">" if image.is_big_endian else "<")
    used = image.width * channels * order.itemsize
    step = image.step or used
    if step < used or len(image.data) < step * (image.height - 1) + used:
        return None
    padded = np.zeros(step * image.height, np.uint8)
    data = np.frombuffer(image.data, np.uint8, min(len(image.data), len(padded)))
    padded[: len(data)] = data
    rows = np.ascontiguousarray(padded.reshape(image.height, step)[:, :used]).view(order).astype(kind)
    return rows if channels == 1 else rows.reshape(image.height, image.width, channels)


def png(pixels: npt.NDArray[Any]) -> bytes:
    """Return an image, shape (H, W) or (H, W, 3 or 4), RGB or RGBA, uint8 or uint16, as a PNG.

    It is stored without compression: the same pixels give the same bytes with each version of each library, and the
    disk has them already.
    """
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    big = np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder(">"), copy=False))
    rows = np.zeros((height, 1 + width * channels * pixels.itemsize), np.uint8)
    rows[:, 1:] = big.view(np.uint8).reshape(height, -1)
    head = struct.pack(">IIBBBBB", width, height, 8 * pixels.itemsize, _COLOUR_TYPES[channels], 0, 0, 0)
    return _PNG + _part(b"IHDR", head) + _part(b"IDAT", _stored(rows.tobytes())) + _part(b"IEND", b"")


def _part(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(name)))


def _stored(data: bytes) -> bytes:
    """Return data in zlib's format (RFC 1950), in stored blocks (RFC 1951, 3.2.4)."""
    parts = [b"\x78\x01"]
    for at in range(0, len(data), _STORED_BYTES):
        block = data[at : at + _STORED_BYTES]
        is_last = at + _STORED_BYTES >= len(data)
        parts += [struct.pack("<BHH", is_last, len(block), len(block) ^ 0xFFFF), block]
    return b"".join([*parts, struct.pack(">I", zlib.adler32(data))])
