from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.formats.reviewing.shapes import (
    HASH_DIGITS,
    ImageName,
    image_name,
    parse_name,
    same_box,
    same_turn,
    time_ns,
)

HASH = "0123456789abcdef" * 4


@settings(deadline=None)
@given(st.text("abc /.-_=ü%", min_size=1, max_size=12), st.integers(0, 10**12))
def test_image_names_round_trip(stream: str, number: int) -> None:
    found = parse_name(image_name(stream, number, HASH, ".png"))
    assert found == ImageName(stream, number, HASH[:HASH_DIGITS])


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("images/cam/00000007-0123456789abcdef.jpg", "images/cam"),
        ("/data/local-files/?d=images/yard/00000007-0123456789abcdef.jpg", "/data/local-files/?d=images/yard"),
        ("/data/upload/3/5e1f-00000007-0123456789abcdef.jpg", "/data/upload/3"),
        ("00000007-0123456789abcdef.JPG", ""),
    ],
)
def test_image_names_are_parsed_with_any_prefix(name: str, folder: str) -> None:
    assert parse_name(name) == ImageName(folder, 7, "0123456789abcdef")


def test_other_names_are_not_parsed() -> None:
    assert parse_name("images/cam/image_7.jpg") is None
    assert parse_name("images/cam/00000007-0123.jpg") is None


def test_boxes_are_equal_within_rounding_of_tools() -> None:
    assert same_box((10, 20, 30, 40), (10.004, 19.996, 30.0, 40.01))
    assert not same_box((10, 20, 30, 40), (10, 20, 30, 40.5))


def test_rotations_are_compared_modulo_360_degrees() -> None:
    assert same_turn(None, 359.95)
    assert same_turn(360, 0)
    assert not same_turn(0, 180)
    assert not same_turn(10, 10.5)


def test_times_of_tools_are_parsed() -> None:
    assert time_ns("1970-01-01T00:00:01Z") == 1_000_000_000
    assert time_ns("1970-01-01 00:00:01.500000+00:00") == 1_500_000_000
    assert time_ns("1970-01-01T01:00:01+01:00") == 1_000_000_000
    assert time_ns("1970-01-01") == 0
    assert [time_ns(text) for text in (None, "", "yesterday")] == [None] * 3
