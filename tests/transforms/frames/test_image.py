from __future__ import annotations

import contextlib
import io
import struct
import zlib

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from tests.helpers import noise
from transforms.frames.image import (
    CorruptImageError,
    Header,
    ImageParams,
    decode_color,
    decode_gray,
    read_header,
    shrink,
    thumbnail,
    to_small,
)


def encoded(extension: str, height: int = 90, width: int = 160) -> bytes:
    return bytes(cv2.imencode(extension, noise(1, height, width))[1])


@pytest.mark.parametrize(
    ("extension", "name"),
    [(".jpg", "jpeg"), (".png", "png"), (".webp", "webp"), (".bmp", "bmp"), (".tiff", "tiff")],
)
def test_header_has_format_and_size(extension: str, name: str) -> None:
    assert read_header(encoded(extension)) == Header(name, 160, 90)


def test_header_of_progressive_jpeg_with_thumbnail_and_restart_markers() -> None:
    picture = Image.fromarray(noise(1, 64, 48))
    exif = Image.Exif()
    exif[0x0112] = 6
    sink = io.BytesIO()
    picture.save(sink, "jpeg", progressive=True, exif=exif, comment=b"\xff\xc0 no frame header")
    assert read_header(sink.getvalue()) == Header("jpeg", 64, 48, 6)


@pytest.mark.parametrize("data", [b"", b"not an image at all", b"\xff\xd8", b"\xff\xd8\xff\xe0\x00", b"\x89PNG\r\n"])
def test_bytes_that_are_no_image_are_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptImageError):
        read_header(data)


@given(st.binary(max_size=200))
def test_the_header_reader_raises_nothing_but_corrupt_image_error(data: bytes) -> None:
    for candidate in (data, b"\xff\xd8" + data, encoded(".jpg")[: len(data)] + data):
        with contextlib.suppress(CorruptImageError):
            assert read_header(candidate).width >= 0


@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp", ".bmp", ".tiff"])
@pytest.mark.parametrize("share", [0.99, 0.6, 0.2])
def test_truncated_images_are_corrupt(extension: str, share: float) -> None:
    data = encoded(extension)
    cut = data[: int(len(data) * share)]
    with pytest.raises(CorruptImageError):
        decode_gray(cut, read_header(data), ImageParams())


def test_a_jpeg_that_claims_900_megapixels_is_not_decoded() -> None:
    data = bytearray(encoded(".jpg"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 30000, 30000)
    with pytest.raises(CorruptImageError, match="30000x30000"):
        decode_gray(bytes(data), read_header(bytes(data)), ImageParams())


def test_a_png_that_claims_900_megapixels_is_not_decoded_for_a_thumbnail_either() -> None:
    data = bytearray(encoded(".png"))
    data[16:24] = struct.pack(">II", 30000, 30000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    header = read_header(bytes(data))
    assert (header.width, header.height) == (30000, 30000)
    for decode in (lambda: decode_gray(bytes(data), header, ImageParams()), lambda: thumbnail(bytes(data), 192)):
        with pytest.raises(CorruptImageError, match="30000x30000"):
            decode()


def quarters(gray: bool, height: int = 96, width: int = 160) -> Image.Image:
    """Return an image of four plain quarters, all different, so that rotations are seen despite compression."""
    cells = np.array([[[220, 30, 30], [30, 220, 30]], [[30, 30, 220], [240, 240, 240]]], np.uint8)
    picture = Image.fromarray(cells.repeat(height // 2, axis=0).repeat(width // 2, axis=1))
    return picture.convert("L") if gray else picture


def tagged(picture: Image.Image, kind: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x010F] = "a maker"
    exif[0x0112] = orientation
    sink = io.BytesIO()
    picture.save(sink, kind, exif=exif)
    return sink.getvalue()


def shown(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as picture:
        return ImageOps.exif_transpose(picture)


def read_by_opencv(data: bytes) -> npt.NDArray[np.uint8]:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def assert_alike(found: npt.NDArray[np.uint8], picture: Image.Image) -> None:
    """Compare a decoded image, at any reduction, with the full image."""
    mode = "L" if found.ndim == 2 else "RGB"
    expected = np.asarray(picture.convert(mode).resize(found.shape[1::-1], Image.Resampling.BOX)).astype(int)
    found = found if found.ndim == 2 else found[..., ::-1]
    assert np.abs(found.astype(int) - expected).mean() < 12


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff"])
def test_images_are_decoded_as_they_are_displayed(kind: str, gray: bool, orientation: int) -> None:
    data = tagged(quarters(gray), kind, orientation)
    expected, header = shown(data), read_header(data)
    assert (header.width, header.height) == expected.size
    whole = decode_color(data, header, ImageParams())
    assert whole.shape[1::-1] == expected.size
    # Programs that read datasets use OpenCV.
    assert np.array_equal(whole, read_by_opencv(data))
    half = decode_color(data, header, ImageParams(), short_side=48)
    assert half.shape[1::-1] == (expected.size[0] // 2, expected.size[1] // 2)
    small = decode_gray(data, header, ImageParams(long_side=64))
    assert max(small.shape) == 64
    assert (small.shape[0] > small.shape[1]) == (expected.size[1] > expected.size[0])
    for found in (whole, half, small, decode_gray(data, header, ImageParams())):
        assert_alike(found, expected)
    assert_alike(read_by_opencv(thumbnail(data, 40)), expected)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((720, 1280), (360, 640)),
        ((1080, 1920), (360, 640)),
        ((2160, 3840), (360, 640)),
        ((480, 640), (480, 640)),
        ((1280, 720), (640, 360)),
        ((100, 50), (100, 50)),
    ],
)
def test_images_are_measured_at_one_size_and_never_enlarged(size: tuple[int, int], expected: tuple[int, int]) -> None:
    data = encoded(".jpg", *size)
    assert decode_gray(data, read_header(data), ImageParams()).shape == expected


@given(st.integers(1, 700), st.integers(1, 700), st.integers(16, 640))
def test_shrinking_keeps_the_mean_and_the_longer_side(height: int, width: int, side: int) -> None:
    gray = np.full((height, width), 77, np.uint8)
    small = shrink(gray, side)
    assert max(small.shape) == min(side, max(height, width))
    assert np.all(small == 77)


def test_small_images_are_averages_of_the_large() -> None:
    gray = np.zeros((360, 640), np.uint8)
    gray[:, 320:] = 200
    small = to_small(gray)
    assert small.shape == (90, 160)
    assert (small[:, :80] == 0).all()
    assert (small[:, 80:] == 200).all()


def test_thumbnail_is_a_small_jpeg() -> None:
    assert read_header(thumbnail(encoded(".png"), 64)) == Header("jpeg", 64, 36)
    with pytest.raises(CorruptImageError):
        thumbnail(encoded(".png")[:500], 64)
