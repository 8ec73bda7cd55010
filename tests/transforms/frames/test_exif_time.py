from __future__ import annotations

import io
import struct

import pytest
from PIL import Image

from transforms.frames.exif_time import exif_time_ns

T0 = 1705314647 * 10**9
"""2024-01-15 10:30:47 UTC."""


def picture(kind: str, **values: str) -> bytes:
    """Return an image with EXIF data that Pillow writes."""
    tags = {"taken": 0x9003, "fraction": 0x9291, "offset": 0x9011}
    image = Image.new("RGB", (8, 8))
    exif = image.getexif()
    exif[0x0132] = "2030:01:01 00:00:00"
    for name, value in values.items():
        exif.get_ifd(0x8769)[tags[name]] = value
    if kind == "TIFF":
        # EXIF data are a TIFF file.
        return exif.tobytes().removeprefix(b"Exif\x00\x00")
    data = io.BytesIO()
    image.save(data, kind, exif=exif)
    return data.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WebP", "TIFF"])
def test_the_time_is_that_at_which_the_image_was_taken(kind: str) -> None:
    assert exif_time_ns(picture(kind, taken="2024:01:15 10:30:47")) == T0


@pytest.mark.parametrize(
    ("values", "t_ns"),
    [
        ({"taken": "2024:01:15 10:30:47", "fraction": "25"}, T0 + 250_000_000),
        ({"taken": "2024:01:15 10:30:47", "fraction": "123456"}, T0 + 123_456_000),
        ({"taken": "2024:01:15 10:30:47", "offset": "+08:00"}, T0 - 8 * 3600 * 10**9),
        ({"taken": "2024:01:15 10:30:47", "offset": "-03:30"}, T0 + 12_600 * 10**9),
        ({"taken": "0000:00:00 00:00:00"}, None),
        ({"taken": "    :  :     :  :  "}, None),
        ({"taken": "1960:01:01 00:00:00"}, None),
        ({}, None),
    ],
)
def test_fractions_and_offsets_count_and_clocks_never_set_do_not(values: dict[str, str], t_ns: int | None) -> None:
    assert exif_time_ns(picture("JPEG", **values)) == t_ns


def test_broken_exif_data_are_no_time_and_no_error() -> None:
    whole = picture("JPEG", taken="2024:01:15 10:30:47", fraction="123456")
    for end in range(len(whole)):
        found = exif_time_ns(whole[:end])
        assert found is None or T0 <= found < T0 + 10**9
    start = whole.index(b"Exif")
    for at in range(start, start + 120):
        exif_time_ns(whole[:at] + struct.pack(">I", 0xFFFFFFFF) + whole[at + 4 :])
