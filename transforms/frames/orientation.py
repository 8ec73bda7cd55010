"""EXIF orientation: read from JPEG, PNG and WebP, and applied to arrays."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import numpy.typing as npt

ON_ITS_SIDE = 5
"""From this orientation on, width and height are swapped for display."""

_TAG = 0x0112
_ENTRY_BYTES = 12
_EXIF = b"Exif\x00\x00"
_PNG_SIGNATURE_BYTES = 8
_RIFF_HEADER_BYTES = 12


def turned(picture: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[np.uint8]:
    """Return an (H, W) or (H, W, C) image oriented for display; the result is (W, H, ...) for orientations from 5 on.

    Orientations are 1 to 8 of EXIF 2.32 (tag 274): 6 is rotated clockwise by a quarter turn for display.
    """
    match orientation:
        case 2:
            found = cv2.flip(picture, 1)
        case 3:
            found = cv2.rotate(picture, cv2.ROTATE_180)
        case 4:
            found = cv2.flip(picture, 0)
        case 5:
            found = cv2.transpose(picture)
        case 6:
            found = cv2.rotate(picture, cv2.ROTATE_90_CLOCKWISE)
        case 7:
            found = cv2.flip(cv2.transpose(picture), -1)
        case 8:
            found = cv2.rotate(picture, cv2.ROTATE_90_COUNTERCLOCKWISE)
        case _:
            return picture
    return np.asarray(found, np.uint8)


def in_app1(data: bytes, start: int, end: int) -> int:
    """Return the orientation in an APP1 segment of a JPEG: 0 if it is not EXIF, 1 if its EXIF has no orientation."""
    return _in_exif(data[start + len(_EXIF) : end]) if data.startswith(_EXIF, start) else 0


def in_png(data: bytes) -> int:
    """Return the orientation in the eXIf chunk of a PNG; 1 without one or with a wrong checksum."""
    at = _PNG_SIGNATURE_BYTES
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if data.startswith(b"eXIf", at + 4):
            said = data[at + 8 : at + 8 + size]
            is_whole = zlib.crc32(b"eXIf" + said) == int.from_bytes(data[at + 8 + size : at + 12 + size], "big")
            return _in_exif(said) if is_whole else 1
        at += 12 + size
    return 1


def in_webp(data: bytes) -> int:
    """Return the orientation in the EXIF chunk of a WebP; 1 without one."""
    at = _RIFF_HEADER_BYTES
    # Only the extended file format (VP8X) has chunks besides the image data.
    while data.startswith(b"VP8X", _RIFF_HEADER_BYTES) and at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if data.startswith(b"EXIF", at):
            return _in_exif(data[at + 8 : at + 8 + size])
        at += 8 + size + size % 2
    return 1


def _in_exif(block: bytes) -> int:
    """Return the orientation in an EXIF block, which has the structure of a TIFF; 1 if missing or out of range."""
    # The prefix belongs to JPEG, but some programs write it elsewhere too.
    block = block.removeprefix(_EXIF)
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(block[:4])
    if order is None or len(block) < 10:
        return 1
    (first,) = struct.unpack_from(f"{order}I", block, 4)
    if first + 2 > len(block):
        return 1
    (n,) = struct.unpack_from(f"{order}H", block, first)
    tag = struct.pack(f"{order}H", _TAG)
    for at in range(first + 2, min(first + 2 + n * _ENTRY_BYTES, len(block) - _ENTRY_BYTES + 1), _ENTRY_BYTES):
        if block.startswith(tag, at):
            (found,) = struct.unpack_from(f"{order}H", block, at + 8)
            return found if 1 <= found <= 8 else 1
    return 1
