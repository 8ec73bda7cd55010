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
from transforms.frames.depth import to_8_bits
from transforms.frames.image import ImageParams, decode_checked, decode_color, read_header, thumbnail

PARAMS = ImageParams()


@pytest.mark.parametrize(
    ("most", "white"), [(900, 1023), (1023, 1023), (1024, 4095), (4095, 4095), (16000, 16383), (30000, 65535)]
)
def test_the_white_level_is_that_of_the_fewest_sufficient_bits(most: int, white: float) -> None:
    picture = np.array([[0, most // 2, most]], np.uint16)
    scaled, found = to_8_bits(picture, None)
    assert found == white
    assert scaled.tolist() == [[round(value * 255 / white) for value in (0, most // 2, most)]]


def test_floats_are_scaled_and_what_is_no_number_is_black() -> None:
    picture = np.array([[-1.0, 0.0, 0.5, 1.0, np.nan, np.inf]], np.float32)
    scaled, white = to_8_bits(picture, None)
    assert (scaled.tolist(), white) == ([[0, 0, 128, 255, 0, 0]], 1.0)
    assert to_8_bits(picture * 3, None)[1] == 4.0
    assert to_8_bits(np.zeros((2, 2), np.float64), None)[1] == 1.0


def test_a_given_white_holds_for_dark_frames_too() -> None:
    scaled, white = to_8_bits(np.array([[0, 409, 5000]], np.uint16), 4095.0)
    assert (scaled.tolist(), white) == ([[0, 25, 255]], 4095.0)


def test_8_bits_stay_as_they_are() -> None:
    picture = noise(1, 4, 4)
    scaled, white = to_8_bits(picture, 4095.0)
    assert white is None
    assert np.array_equal(scaled, picture)


def encoded(extension: str, picture: npt.NDArray[np.uint16]) -> bytes:
    return bytes(cv2.imencode(extension, picture)[1])


@pytest.mark.parametrize("extension", [".png", ".tiff"])
@pytest.mark.parametrize(("bits", "white"), [(10, 1023), (12, 4095), (14, 16383), (16, 65535)])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_10_to_14_bits_in_16_keep_their_brightness(
    extension: str, bits: int, white: int, channels: int
) -> None:
    plain = cv2.GaussianBlur(noise(2, 90, 160), (0, 0), 3)
    plain = cv2.normalize(plain, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    deep = (plain.astype(np.float64) * white / 255).astype(np.uint16)
    data = encoded(extension, np.repeat(deep[..., None], 3, axis=2) if channels == 3 else deep)
    found = decode_checked(data, read_header(data), PARAMS)
    assert found.white_level == white
    assert np.abs(found.gray.astype(int) - plain).max() <= 1
    color = decode_color(data, read_header(data), PARAMS)
    assert np.abs(color.astype(int) - plain[..., None]).max() <= 1
    assert len(thumbnail(data, 64)) > 100


def test_the_white_level_can_be_set() -> None:
    data = encoded(".png", np.full((90, 160), 500, np.uint16))
    found = decode_checked(data, read_header(data), ImageParams(white_level=4095))
    assert (found.white_level, set(found.gray.flatten().tolist())) == (4095, {31})


def test_tiff_of_floats_is_read() -> None:
    sink = io.BytesIO()
    Image.fromarray(np.linspace(0, 1, 90 * 160, dtype=np.float32).reshape(90, 160)).save(sink, "tiff")
    data = sink.getvalue()
    found = decode_checked(data, read_header(data), PARAMS)
    assert (found.white_level, int(found.gray[0, 0]), int(found.gray[-1, -1])) == (1.0, 0, 255)
    assert decode_color(data, read_header(data), PARAMS).shape == (90, 160, 3)


def four_bit_tiff(values: npt.NDArray[np.uint8]) -> bytes:
    """Return an uncompressed grey TIFF of 4 bits per sample; `values` are 0 to 15, of an even width."""
    height, width = values.shape
    strip = (values[:, ::2] << 4 | values[:, 1::2]).astype(np.uint8).tobytes()
    tags = [(256, width), (257, height), (258, 4), (259, 1), (262, 1), (273, 8), (277, 1), (278, height)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in [*tags, (279, len(strip))])
    directory = struct.pack("<H", len(tags) + 1) + entries + bytes(4)
    return struct.pack("<2sHI", b"II", 42, 8 + len(strip)) + strip + directory


def test_tiff_of_4_bits_is_read() -> None:
    values = np.tile(np.arange(16, dtype=np.uint8), (64, 5))
    data = four_bit_tiff(values)
    found = decode_checked(data, read_header(data), PARAMS)
    assert found.gray.tolist() == (values * 17).tolist()
    assert found.white_level is None


@pytest.mark.realdata
def test_real_files_of_other_depths_are_read(real_data: Path) -> None:
    folder = real_data / "reports" / "deep-tiff"
    found = {}
    for name in ("a_1.tif", "a_2.tiff", "a_3.tif", "a_4.png"):
        data = (folder / name).read_bytes()
        read = decode_checked(data, read_header(data), PARAMS)
        found[name] = (read.white_level, read.damage)
        if name == "a_4.png":
            assert 110 < read.gray.mean() < 135
    assert found == {
        "a_1.tif": (4095.0, "none"),
        "a_2.tiff": (4.0, "none"),
        "a_3.tif": (None, "none"),
        "a_4.png": (4095.0, "none"),
    }
    turned = (folder / "a_6.webp").read_bytes()
    assert (read_header(turned).width, read_header(turned).height) == (480, 640)
