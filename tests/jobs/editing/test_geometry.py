"""Shapes with known answers: boxes, turned ones, polygons and masks, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from jobs.editing.geometry import GeometryError, checked, crosses_itself
from transforms.formats.outlines import encoded

WIDTH, HEIGHT = 40, 30


def test_a_box_that_leaves_the_frame_by_less_than_a_pixel_is_clipped() -> None:
    assert checked({"bbox": [-0.5, 2, 10.5, 28.7]}, WIDTH, HEIGHT) == {
        "bbox": [0.0, 2, 10.0, 28.0],
        "rotation": 0.0,
        "polygons": None,
        "rle": None,
    }


def test_a_turned_box_stays_as_it_is_drawn() -> None:
    found = checked({"bbox": [-5, 2, 20, 10], "rotation": -90}, WIDTH, HEIGHT)
    assert (found["bbox"], found["rotation"]) == ([-5, 2, 20, 10], 270)


def test_a_polygon_has_the_box_around_it() -> None:
    found = checked({"polygons": [[1, 2, 11, 2, 11, 9], [20, 20, 25, 20, 25, 29]]}, WIDTH, HEIGHT)
    assert found["bbox"] == [1, 2, 24, 27]


@pytest.mark.parametrize(
    ("rows", "columns", "box"),
    [
        ((3, 8), (2, 12), [2, 3, 10, 5]),
        ((0, 30), (5, 6), [5, 0, 1, 30]),
        ((29, 30), (39, 40), [39, 29, 1, 1]),
        ((0, 30), (0, 40), [0, 0, 40, 30]),
    ],
)
def test_a_mask_has_the_box_around_its_pixels(rows: tuple[int, int], columns: tuple[int, int], box: list[int]) -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[slice(*rows), slice(*columns)] = 1
    assert checked({"rle": encoded(mask)}, WIDTH, HEIGHT)["bbox"] == box


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({}, "expected one of bbox, polygons, rle, found none"),
        ({"bbox": [0, 0, 1, 1], "rle": "x"}, "found bbox and rle"),
        ({"bbox": [0, 0, 0, 5]}, "above 0"),
        ({"bbox": [0, 0, float("nan"), 5]}, "finite"),
        ({"bbox": [35, 0, 7, 5]}, "inside the frame of 40x30"),
        ({"bbox": [40.5, 0, 0.4, 5]}, "inside the frame"),
        ({"bbox": [35, 0, 20, 5], "rotation": 10}, "centre is outside"),
        ({"polygons": [[0, 0, 5, 0, 5, 5]], "rotation": 10}, "for a box alone"),
        ({"polygons": []}, "at least one ring"),
        ({"polygons": [[0, 0, 5, 0]]}, "at least 3 points"),
        ({"polygons": [[0, 0, 5, 0, 5]]}, "at least 3 points"),
        ({"polygons": [[0, 0, 50, 0, 5, 5]]}, "inside the frame"),
        ({"polygons": [[0, 0, 10, 10, 10, 0, 0, 10]]}, "crosses itself"),
        ({"polygons": [[1, 1, 1.2, 1, 1.2, 1.2]]}, "pixels of the frame"),
        ({"polygons": [[1, 1, 9, 9, 1, 1]]}, "pixels of the frame"),
        ({"rle": "1234"}, "run lengths"),
        ({"rle": encoded(np.zeros((HEIGHT, WIDTH), np.uint8))}, "covers something"),
        ({"rle": encoded(np.ones((WIDTH, HEIGHT + 1), np.uint8))}, "add up to 1200"),
    ],
)
def test_what_cannot_be_on_a_frame_is_refused(given: dict[str, Any], line: str) -> None:
    with pytest.raises(GeometryError, match=line):
        checked(given, WIDTH, HEIGHT)


@pytest.mark.parametrize(
    ("ring", "crosses"),
    [
        ([[0, 0], [4, 0], [4, 4], [0, 4]], False),
        ([[0, 0], [4, 4], [4, 0], [0, 4]], True),
        # It touches itself at a corner, and leads there and back along one line.
        ([[0, 0], [4, 0], [4, 4], [2, 2], [0, 4], [2, 2]], False),
        ([[0, 0], [4, 0], [2, 0], [2, 4]], False),
    ],
)
def test_rings_that_cross_themselves(ring: list[list[int]], crosses: bool) -> None:
    assert crosses_itself(np.array(ring, np.float64)) == crosses
