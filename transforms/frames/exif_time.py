"""The time at which a camera says an image was taken, from its EXIF data (CIPA DC-008, EXIF 2.32)."""

from __future__ import annotations

import datetime as dt
import re
import struct
from typing import NamedTuple

_EXIF = b"Exif\x00\x00"
_EXIF_IFD = 0x8769
_TAKEN, _FRACTION, _OFFSET = 0x9003, 0x9291, 0x9011
_ORDERS = {b"II*\x00": "<", b"MM\x00*": ">"}
_PNG = b"\x89PNG\r\n\x1a\n"
_MOST_ENTRIES = 512
_DATE = re.compile(rb"(\d{4})[:-](\d\d)[:-](\d\d)[ T](\d\d):(\d\d):(\d\d)")
_ZONE = re.compile(rb"([+-])(\d\d):(\d\d)")
_NS = 1_000_000_000


class ExifTime(NamedTuple):
    """When an image was taken, in ns since 1970; `is_local` where no offset is known, as if the clock showed UTC."""

    t_ns: int
    is_local: bool


def exif_time_ns(data: bytes) -> int | None:
    """Return when an image was taken, in ns since 1970, given its bytes; None if its EXIF data do not say.

    That is `DateTimeOriginal` with `SubSecTimeOriginal`. Without `OffsetTimeOriginal` it is taken as if it were UTC.
    JPEG, PNG, WebP and TIFF are read.
    """
    found = exif_time(data)
    return None if found is None else found.t_ns


def exif_time(data: bytes) -> ExifTime | None:
    """Return when an image was taken, as `exif_time_ns` does, and whether that is a local time."""
    block = _block(data)
    order = _ORDERS.get(block[:4])
    if order is None or len(block) < 8:
        return None
    first = _entries(block, struct.unpack_from(f"{order}I", block, 4)[0], order)
    if _EXIF_IFD not in first:
        return None
    (at,) = struct.unpack(f"{order}I", first[_EXIF_IFD][1])
    found = _entries(block, at, order)
    date = _DATE.match(_text(block, found.get(_TAKEN), order))
    if date is None:
        return None
    try:
        year, month, day, hour, minute, second = map(int, date.groups())
        taken = dt.datetime(year, month, day, hour, minute, second, tzinfo=dt.UTC)
    except ValueError:
        # Cameras whose clock was never set write zeros.
        return None
    seconds = int(taken.timestamp())
    zone = _ZONE.match(_text(block, found.get(_OFFSET), order))
    if zone:
        offset = int(zone[2]) * 3600 + int(zone[3]) * 60
        seconds += offset if zone[1] == b"-" else -offset
    fraction = re.match(rb"\d{1,9}", _text(block, found.get(_FRACTION), order))
    below = int(fraction[0].ljust(9, b"0")) if fraction else 0
    return ExifTime(seconds * _NS + below, zone is None) if seconds >= 0 else None


def _block(data: bytes) -> bytes:
    """Return the EXIF block of an image, which has the structure of a TIFF; empty without one."""
    if data.startswith(b"\xff\xd8"):
        return _in_jpeg(data)
    if data.startswith(_PNG):
        return _in_chunks(data, len(_PNG), b"eXIf", ">")
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _in_chunks(data, 12, b"EXIF", "<").removeprefix(_EXIF)
    return data if data[:4] in _ORDERS else b""


def _in_jpeg(data: bytes) -> bytes:
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == 0xDA:
            break
        (size,) = struct.unpack_from(">H", data, at + 2)
        if marker == 0xE1 and data.startswith(_EXIF, at + 4):
            return data[at + 4 + len(_EXIF) : at + 2 + size]
        at += 2 + size
    return b""


def _in_chunks(data: bytes, at: int, name: bytes, order: str) -> bytes:
    """Return the content of a chunk of a PNG or of a RIFF file."""
    while at + 8 <= len(data):
        # A PNG's chunk has size, name, content and checksum; one of RIFF has its name first, and is padded.
        size_at, name_at = (at, at + 4) if order == ">" else (at + 4, at)
        (size,) = struct.unpack_from(f"{order}I", data, size_at)
        if data[name_at : name_at + 4] == name:
            return data[at + 8 : at + 8 + size]
        at += 12 + size if order == ">" else 8 + size + size % 2
    return b""


def _entries(block: bytes, at: int, order: str) -> dict[int, tuple[int, bytes]]:
    """Return the entries of a directory by tag: number of values, and the four bytes of value or place."""
    if at + 2 > len(block):
        return {}
    (n,) = struct.unpack_from(f"{order}H", block, at)
    found = {}
    for entry in range(at + 2, at + 2 + 12 * min(n, _MOST_ENTRIES), 12):
        if entry + 12 > len(block):
            break
        tag, _, count = struct.unpack_from(f"{order}HHI", block, entry)
        found[tag] = count, block[entry + 8 : entry + 12]
    return found


def _text(block: bytes, entry: tuple[int, bytes] | None, order: str) -> bytes:
    if entry is None:
        return b""
    count, value = entry
    if count <= 4:
        return value[:count]
    (at,) = struct.unpack(f"{order}I", value)
    return block[at : at + min(count, 64)]
