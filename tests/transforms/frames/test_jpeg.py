from __future__ import annotations

import io
import struct
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from tests.helpers import noise
from transforms.frames.image import CorruptImageError, ImageParams, decode_checked, decode_color, read_header
from transforms.frames.jpeg import decode_jpeg, read_jpeg_header

PARAMS = ImageParams()


def photo(progressive: bool = False) -> bytes:
    """Return a JPEG of 320x240 pixels with detail everywhere, so that every part of its data counts."""
    sink = io.BytesIO()
    Image.fromarray(cv2.GaussianBlur(noise(3, 240, 320), (0, 0), 1)).save(
        sink, "jpeg", quality=90, progressive=progressive
    )
    return sink.getvalue()


def damage_of(data: bytes) -> str | None:
    return decode_checked(data, read_header(data), PARAMS).damage


def with_size(data: bytes, height: int, width: int) -> bytes:
    """Return a JPEG whose header claims another size."""
    at = next(at for mark in (b"\xff\xc0", b"\xff\xc2") if (at := data.find(mark)) >= 0)
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


@pytest.mark.parametrize("progressive", [False, True])
def test_intact_jpegs_have_no_damage(progressive: bool) -> None:
    assert damage_of(photo(progressive)) == "none"


@pytest.mark.parametrize("junk", [b"\x00" * 3, b"\xff\x00", b"\xff\xff\xff", b"a camera's remark"])
@pytest.mark.parametrize("mark", [b"\xff\xdb", b"\xff\xc0", b"\xff\xc4"])
def test_filler_and_junk_before_a_marker_are_no_damage(junk: bytes, mark: bytes) -> None:
    data = photo()
    at = data.index(mark)
    padded = data[:at] + junk + data[at:]
    assert (read_header(padded).width, read_header(padded).height) == (320, 240)
    assert damage_of(padded) == "none"
    assert np.array_equal(decode_checked(padded, read_header(padded), PARAMS).gray, _gray(data))
    assert decode_color(padded, read_header(padded), PARAMS).shape == (240, 320, 3)
    # What is filled in at the front does not hide what is damaged behind it.
    assert damage_of(padded[:9000] + bytes(1500) + padded[10500:]) == "data"


def _gray(data: bytes) -> npt.NDArray[np.uint8]:
    return decode_checked(data, read_header(data), PARAMS).gray


def test_an_unknown_colour_transform_is_no_damage() -> None:
    data = photo()
    marked = data[:2] + b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x63" + data[2:]
    assert damage_of(marked) == "none"
    assert damage_of(marked[:9000] + bytes(1500) + marked[10500:]) == "data"


def test_a_jpeg_that_lacks_only_its_end_marker_has_minor_damage() -> None:
    data = photo()
    cut = data[:-2]
    assert damage_of(cut) == "minor"
    assert np.array_equal(_gray(cut), _gray(data))
    assert np.array_equal(decode_color(cut, read_header(cut), PARAMS), decode_color(data, read_header(data), PARAMS))


def test_zeros_before_the_mark_at_the_end_are_no_damage() -> None:
    data = photo()
    assert damage_of(data[:-2] + bytes(40) + data[-2:]) == "none"
    assert damage_of(data[:-2] + b"\x11" * 40 + data[-2:]) == "data"


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("kind", ["zeros", "rot", "hole"])
def test_damaged_data_are_known(kind: str, progressive: bool) -> None:
    data = photo(progressive)
    third = len(data) // 3
    if kind == "zeros":
        hurt = data[:third] + bytes(400) + data[third + 400 :]
    elif kind == "rot":
        rotten = bytearray(data)
        # libjpeg finds its way back after most single ones, and warns of nothing.
        for at in np.random.default_rng(1).integers(third, len(data) - 10, 8).tolist():
            rotten[at] ^= 0x28
        hurt = bytes(rotten)
    else:
        at = third if progressive else 2 * third
        hurt = data[:at] + data[at + 100 :]
    assert damage_of(hurt) == "data"


@pytest.mark.parametrize("share", [0.999, 0.9, 0.5])
def test_truncated_data_are_corrupt(share: float) -> None:
    data = photo()
    with pytest.raises(CorruptImageError, match="truncated"):
        damage_of(data[: int(len(data) * share)])


@pytest.mark.parametrize(
    ("height", "width", "why"),
    [(480, 320, "larger"), (240, 640, "larger"), (360, 320, "larger"), (120, 320, "smaller")],
)
def test_data_of_another_size_than_the_header_claims_are_corrupt(height: int, width: int, why: str) -> None:
    with pytest.raises(CorruptImageError, match=f"header claims a {why} size than"):
        damage_of(with_size(photo(), height, width))


def test_a_truncated_header_is_no_jpeg_header() -> None:
    for data in (b"\xff\xd8", b"\xff\xd8\xff\xd9", b"\xff\xd8\xff\xdb\x00", photo()[:40]):
        assert read_jpeg_header(data) is None
    assert decode_jpeg(photo()[:40], cv2.IMREAD_GRAYSCALE).picture is None


@pytest.mark.realdata
def test_real_files_are_judged_as_libjpeg_does(real_data: Path) -> None:
    expected = {
        "jpeg-header/junk_jpeg_header.jpg": "none",
        "jpeg-header/photoshop-200dpi-broken.jpg": "none",
        "jpeg-header/ff00_before_DQT_018.jpg": "none",
        "jpeg-header/pad_before_DQT_017.jpg": "none",
        "jpeg-damage/plain_100.jpg": "none",
        "jpeg-damage/noEOI_015.jpg": "minor",
        "jpeg-damage/bitrot_021.jpg": "data",
        "jpeg-damage/zeros2k_022.jpg": "data",
        "jpeg-damage/corrupt_1.jpg": "data",
    }
    assert {name: damage_of((real_data / "reports" / name).read_bytes()) for name in expected} == expected


@pytest.mark.realdata
def test_real_frames_are_sound(real_data: Path) -> None:
    frames = sorted((real_data / "sequences" / "bedroom").glob("*.jpg"))[::4]
    photos = sorted((real_data / "detection" / "coco128" / "images").glob("*.jpg"))[::4]
    assert {damage_of(path.read_bytes()) for path in frames + photos} == {"none"}
