from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from transforms.frames.exif_time import exif_time_ns
from transforms.frames.image import CorruptImageError, ImageParams, decode_color, read_header
from transforms.frames.upright import is_displayed, upright

WIDTH, HEIGHT = 96, 64
ORIENTATIONS = range(2, 9)
UNTURNED = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION


def scene() -> npt.NDArray[np.uint8]:
    """Return an image, red first, that looks different however it is turned."""
    rng = np.random.default_rng(3)
    spots = rng.integers(0, 256, (8, 12, 3), np.uint8)
    return np.asarray(cv2.resize(spots, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC), np.uint8)


def file_of(kind: str, orientation: int, picture: npt.NDArray[np.uint8], **options: Any) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "a maker"
    exif.get_ifd(0x8769)[0x9003] = "2024:01:15 10:30:47"
    sink = io.BytesIO()
    Image.fromarray(picture).save(sink, kind, exif=exif, **options)
    return sink.getvalue()


def decoded(data: bytes) -> npt.NDArray[np.uint8]:
    """Return the pixels of an image as they are stored, blue first."""
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), UNTURNED), np.uint8)


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_readers_that_know_exif_and_those_that_do_not_have_the_same_pixels(kind: str, orientation: int) -> None:
    data = file_of(kind, orientation, scene(), **({"quality": 80} if kind == "jpeg" else {}))
    found = upright(data)
    assert found is not None
    assert (read_header(found).format, read_header(found).orientation) == (kind, 1)
    displayed = decode_color(data, read_header(data), ImageParams())
    unturned = decoded(found)
    with Image.open(io.BytesIO(found)) as picture:
        # Pillow and OpenCV round the colours of a JPEG differently.
        np.testing.assert_allclose(np.asarray(picture.convert("RGB"))[..., ::-1].astype(int), unturned, atol=4)
    assert unturned.shape == displayed.shape
    apart = np.abs(unturned.astype(int) - displayed)
    # A JPEG is rounded once more; its colours are half as many.
    assert (apart.mean() < 3) if kind == "jpeg" else (apart.max() == 0)
    assert exif_time_ns(found) == exif_time_ns(data) == 1705314647 * 10**9
    assert upright(data) == found
    assert upright(found) is None


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_jpeg_keeps_its_quantization_and_loses_next_to_nothing(orientation: int) -> None:
    data = file_of("jpeg", orientation, scene(), quality=60, subsampling="4:4:4")
    found = upright(data)
    assert found is not None
    displayed = decode_color(data, read_header(data), ImageParams())
    again = decoded(found)
    assert np.abs(again.astype(int) - displayed).mean() < 0.1
    assert len(found) < 1.1 * len(data)


def test_what_is_displayed_as_it_is_stored_stays_as_it_is() -> None:
    assert upright(file_of("jpeg", 1, scene())) is None
    with pytest.raises(CorruptImageError):
        upright(b"nothing")


def test_colour_profiles_transparency_and_16_bits_stay() -> None:
    found = upright(file_of("jpeg", 6, scene(), icc_profile=b"a profile"))
    assert found is not None
    with Image.open(io.BytesIO(found)) as picture:
        assert picture.info["icc_profile"] == b"a profile"
    clear = np.dstack([scene(), np.full((HEIGHT, WIDTH), 77, np.uint8)])
    found = upright(file_of("webp", 6, clear, lossless=True, exact=True))
    assert found is not None
    with Image.open(io.BytesIO(found)) as picture:
        np.testing.assert_array_equal(np.asarray(picture), np.rot90(clear, -1))
    deep = scene().astype(np.uint16) * 257
    plain = bytes(cv2.imencode(".png", deep)[1])
    exif = Image.Exif()
    exif[0x0112] = 6
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    body = b"eXIf" + block
    chunk = struct.pack(">I", len(block)) + body + struct.pack(">I", zlib.crc32(body))
    found = upright(plain[:33] + chunk + plain[33:])
    assert found is not None
    again = cv2.imdecode(np.frombuffer(found, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(again, np.rot90(deep, -1))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_an_image_without_its_exif_is_recognised_as_displayed_or_as_stored(orientation: int) -> None:
    data = file_of("jpeg", orientation, scene(), quality=90)
    displayed = upright(data)
    assert displayed is not None
    assert is_displayed(displayed, data) is True
    assert is_displayed(file_of("jpeg", 1, scene(), quality=70), data) is False
    assert is_displayed(file_of("jpeg", 1, scene()[::-1, ::-1] // 2), data) is None
    assert is_displayed(data, data) is None
    assert is_displayed(b"nothing", data) is None
