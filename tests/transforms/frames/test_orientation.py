from __future__ import annotations

import io
import struct

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from tests.helpers import noise
from transforms.frames.image import read_header
from transforms.frames.orientation import in_app1, in_png, in_webp, turned

EXIF = b"Exif\x00\x00"


def block(orientation: int, order: str = ">", entries: int = 1, kind: int = 3) -> bytes:
    head = b"MM\x00*" if order == ">" else b"II*\x00"
    entry = struct.pack(f"{order}HHIHH", 0x0112, kind, 1, orientation, 0)
    return head + struct.pack(f"{order}IH", 8, entries) + entry + bytes(4)


def jpeg(*segments: bytes) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(noise(1, 32, 48)).save(sink, "jpeg")
    said = b"".join(b"\xff\xe1" + struct.pack(">H", len(s) + 2) + s for s in segments)
    return b"\xff\xd8" + said + sink.getvalue()[2:]


@pytest.mark.parametrize(
    "segments",
    [
        (EXIF + block(6),),
        (EXIF + block(8, "<"),),
        (EXIF + block(6, kind=4),),
        (b"http://ns.adobe.com/xap/1.0/\x00<x/>", EXIF + block(6)),
        (EXIF + block(6), EXIF + block(1)),
        # Values out of range count as no orientation.
        (EXIF + block(9),),
        (EXIF + block(0),),
        (b"Exix\x00\x00" + block(6),),
        (EXIF + block(6)[:12],),
        (EXIF + b"MM\x00*\xff\xff\xff\xff",),
        (EXIF,),
        (),
    ],
)
def test_jpeg_orientations_are_read_as_by_opencv(segments: tuple[bytes, ...]) -> None:
    data = jpeg(*segments)
    header = read_header(data)
    decoded = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE))
    assert (header.height, header.width) == decoded.shape


def test_a_chunk_after_the_pixels_counts_and_a_damaged_one_does_not() -> None:
    sink = io.BytesIO()
    Image.fromarray(noise(1, 32, 48)).save(sink, "png", exif=block(6))
    data = sink.getvalue()
    assert in_png(data) == 6
    at, size = data.index(b"eXIf") - 4, 12 + len(block(6))
    chunk, rest = data[at : at + size], data[:at] + data[at + size :]
    assert in_png(rest) == 1
    assert in_png(rest[:-12] + chunk + rest[-12:]) == 6
    assert in_png(rest[:-12] + chunk[:-1] + b"?" + rest[-12:]) == 1


@pytest.mark.parametrize("prefix", [b"", b"Exif\0\0"])
def test_exif_of_webp_may_begin_with_the_prefix_of_jpeg(prefix: bytes) -> None:
    sink = io.BytesIO()
    Image.fromarray(noise(1, 32, 48)).convert("RGB").save(sink, "webp", exif=prefix + block(6))
    assert in_webp(sink.getvalue()) == 6
    with Image.open(io.BytesIO(sink.getvalue())) as picture:
        assert ImageOps.exif_transpose(picture).size == (32, 48)


@given(st.binary(max_size=120))
def test_any_bytes_give_a_valid_orientation(data: bytes) -> None:
    for found in (
        in_app1(EXIF + data, 0, 6 + len(data)),
        in_app1(EXIF + block(6, entries=0xFFFF)[:10] + data, 0, 200),
        in_png(b"\x89PNG\r\n\x1a\n" + data),
        in_webp(b"RIFF\x00\x00\x00\x00WEBPVP8X" + data),
    ):
        assert 1 <= found <= 8


def test_turning_back_restores_the_image() -> None:
    picture = noise(3, 6, 10)
    for there, back in ((1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 8), (7, 7), (8, 6)):
        assert turned(picture, there).shape == ((10, 6) if there >= 5 else (6, 10))
        assert np.array_equal(turned(turned(picture, there), back), picture)
    assert np.array_equal(turned(picture, 6), np.rot90(picture, -1))
