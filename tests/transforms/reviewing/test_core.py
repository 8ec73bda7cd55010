from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.exports.material import HEIGHT, WIDTH, rle, two_parts
from transforms.reviewing.core import (
    HASH_DIGITS,
    PictureName,
    filled,
    parse_name,
    picture_name,
    rings_of,
    same_box,
    time_ns,
)

HASH = "0123456789abcdef" * 4


@settings(deadline=None)
@given(st.text("abc /.-_=ü%", min_size=1, max_size=12), st.integers(0, 10**12))
def test_a_name_says_again_what_it_was_made_of(stream: str, number: int) -> None:
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
def test_names_are_known_whatever_tools_put_before_them(name: str, folder: str) -> None:
    assert parse_name(name) == PictureName(folder, 7, "0123456789abcdef")


def test_other_names_are_not() -> None:
    assert parse_name("images/cam/image_7.jpg") is None
    assert parse_name("images/cam/00000007-0123.jpg") is None


def test_an_outline_filled_is_the_mask_again() -> None:
    mask = two_parts()
    rings = rings_of({"mask_rle": rle(mask)}, WIDTH, HEIGHT)
    assert len(rings) == 1
    assert np.array_equal(filled(rings, WIDTH, HEIGHT), mask)
    assert rings_of({"mask_rle": None}, WIDTH, HEIGHT) == ()


def test_boxes_are_the_same_but_for_what_tools_round() -> None:
    assert same_box((10, 20, 30, 40), (10.004, 19.996, 30.0, 40.01))
    assert not same_box((10, 20, 30, 40), (10, 20, 30, 40.5))


def test_times_as_tools_write_them() -> None:
    assert time_ns("1970-01-01T00:00:01Z") == 1_000_000_000
    assert time_ns("1970-01-01 00:00:01.500000+00:00") == 1_500_000_000
    assert time_ns("1970-01-01T01:00:01+01:00") == 1_000_000_000
    assert time_ns("1970-01-01") == 0
    assert [time_ns(text) for text in (None, "", "yesterday")] == [None] * 3
