from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as masks

from tests.transforms.formats.exports.material import HEIGHT, WIDTH, rle, two_parts
from transforms.formats.reviewing.shapes import (
    HASH_DIGITS,
    PictureName,
    filled,
    follows,
    parse_name,
    picture_name,
    rings_of,
    same_box,
    time_ns,
    traced,
)

HASH = "0123456789abcdef" * 4


@settings(deadline=None)
@given(st.text("abc /.-_=ü%", min_size=1, max_size=12), st.integers(0, 10**12))
def test_picture_names_round_trip(stream: str, number: int) -> None:
    found = parse_name(picture_name(stream, number, HASH, ".png"))
    assert found == PictureName(stream, number, HASH[:HASH_DIGITS])


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("images/cam/00000007-0123456789abcdef.jpg", "images/cam"),
        ("/data/local-files/?d=images/yard/00000007-0123456789abcdef.jpg", "/data/local-files/?d=images/yard"),
        ("/data/upload/3/5e1f-00000007-0123456789abcdef.jpg", "/data/upload/3"),
        ("00000007-0123456789abcdef.JPG", ""),
    ],
)
def test_picture_names_are_parsed_with_any_prefix(name: str, folder: str) -> None:
    assert parse_name(name) == PictureName(folder, 7, "0123456789abcdef")


def test_other_names_are_not_parsed() -> None:
    assert parse_name("images/cam/image_7.jpg") is None
    assert parse_name("images/cam/00000007-0123.jpg") is None


def test_filling_an_outline_gives_the_mask() -> None:
    mask = two_parts()
    rings = rings_of({"mask_rle": rle(mask)}, WIDTH, HEIGHT)
    assert len(rings) == 1
    assert np.array_equal(traced(rings, WIDTH, HEIGHT), mask)
    assert rings_of({"mask_rle": None}, WIDTH, HEIGHT) == ()


def test_a_polygon_contains_the_pixels_whose_centres_are_inside() -> None:
    square = ((100.0, 100.0), (150.0, 100.0), (150.0, 160.0), (100.0, 160.0))
    mask = filled([square], 400, 300)
    assert mask.sum() == 3000
    assert masks.toBbox(masks.encode(np.asfortranarray(mask))).tolist() == [100, 100, 50, 60]
    flat = [[value for point in square for value in point]]
    assert np.array_equal(masks.decode(masks.merge(masks.frPyObjects(flat, 300, 400))), mask)
    # In either orientation; halves are not rounded to even, and parts outside are clipped.
    for x in (2.5, 3.5):
        ring = ((x, x), (x, x + 6), (x + 6, x + 6), (x + 6, x))
        assert np.argwhere(filled([ring], 20, 20)).min(axis=0).tolist() == [int(x)] * 2
        assert filled([ring], 20, 20).sum() == filled([ring[::-1]], 20, 20).sum() == 36
    assert filled([((-9.0, -9.0), (1e9, -9.0), (1e9, 1e9), (-9.0, 1e9))], 8, 6).sum() == 48
    assert filled([square, square], 400, 300).sum() == 3000
    triangle = ((0.0, 0.0), (10.0, 0.0), (0.0, 10.0))
    y, x = np.mgrid[:10, :10] + 0.5
    assert np.array_equal(filled([triangle], 10, 10), (x + y < 10).astype(np.uint8))


def test_a_line_that_joins_two_parts_contains_no_pixels() -> None:
    one = ((1.0, 1.0), (4.0, 1.0), (4.0, 4.0), (1.0, 4.0))
    other = ((10.3, 7.1), (15.0, 8.0), (14.0, 13.0), (9.0, 12.0))
    joined = (*one, one[0], *other, other[0], one[0])
    assert np.array_equal(filled([joined], 20, 20), filled([one, other], 20, 20))


def test_an_edited_outline_is_recognised() -> None:
    rings = rings_of({"mask_rle": rle(two_parts())}, WIDTH, HEIGHT)
    edited = tuple((x + 0.004, y - 0.004) for x, y in rings[0])
    assert follows([((1.0, 1.0), *edited[1:])], rings)
    assert not follows([tuple((x + 0.5, y) for x, y in rings[0])], rings)


def test_boxes_are_equal_within_rounding_of_tools() -> None:
    assert same_box((10, 20, 30, 40), (10.004, 19.996, 30.0, 40.01))
    assert not same_box((10, 20, 30, 40), (10, 20, 30, 40.5))


def test_times_of_tools_are_parsed() -> None:
    assert time_ns("1970-01-01T00:00:01Z") == 1_000_000_000
    assert time_ns("1970-01-01 00:00:01.500000+00:00") == 1_500_000_000
    assert time_ns("1970-01-01T01:00:01+01:00") == 1_000_000_000
    assert time_ns("1970-01-01") == 0
    assert [time_ns(text) for text in (None, "", "yesterday")] == [None] * 3
