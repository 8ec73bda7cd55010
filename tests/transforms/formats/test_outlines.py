from __future__ import annotations

import cv2
import numpy as np
import pytest
from pycocotools import mask as masks

from transforms.formats.outlines import filled, outlines, smallest_turned_box, turned_corners


def test_an_outline_runs_along_the_edges_of_pixels() -> None:
    mask = np.zeros((30, 60), np.uint8)
    mask[10:20, 5:15] = 1
    found = outlines(mask)
    assert found.is_simple
    assert found.parts[0].tolist() == [[5, 10], [15, 10], [15, 20], [5, 20]]
    bar = np.zeros((30, 60), np.uint8)
    bar[2:6, 3:43] = 1
    assert outlines(bar).parts[0].tolist() == [[3, 2], [43, 2], [43, 6], [3, 6]]
    mask[13:15, 8:10] = 0
    (hole,) = outlines(mask).holes
    assert sorted(hole.tolist()) == [[8, 13], [8, 15], [10, 13], [10, 15]]
    assert not outlines(mask).is_simple
    nothing = outlines(np.zeros((4, 4), np.uint8))
    assert (nothing.parts, nothing.holes, nothing.joined.shape) == ((), (), (0, 2))


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_filling_the_outlines_gives_the_mask(share: float) -> None:
    rng = np.random.default_rng(7)
    for _ in range(200):
        height, width = rng.integers(1, 14, 2)
        mask = (rng.random((height, width)) < share).astype(np.uint8)
        found = outlines(mask)
        covered = sum((filled([ring], width, height).astype(int) for ring in found.parts), np.zeros(mask.shape, int))
        covered -= sum((filled([ring], width, height).astype(int) for ring in found.holes), np.zeros(mask.shape, int))
        assert np.array_equal(covered, mask)
        # Pixels that touch at a corner are one part.
        assert len(found.parts) == cv2.connectedComponents(mask, connectivity=8)[0] - 1
        solid = filled(found.parts, width, height)
        assert np.array_equal(filled([found.joined], width, height), solid) or not found.parts


def test_corners_of_a_turned_box() -> None:
    upright = [[10, 20], [40, 20], [40, 30], [10, 30]]
    np.testing.assert_allclose(turned_corners((10, 20, 30, 10), 0), upright)
    # Clockwise on the screen, where y points down: the upper left corner goes to the upper right.
    np.testing.assert_allclose(turned_corners((10, 20, 30, 10), 90), [[30, 10], [30, 40], [20, 40], [20, 10]])
    square = np.array([[5.0, 10], [15, 10], [15, 20], [5, 20]])
    found = smallest_turned_box(square)
    assert sorted(map(tuple, found.round(4).tolist())) == sorted(map(tuple, square.tolist()))


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
