from __future__ import annotations

import cv2
import numpy as np
import pytest

from transforms.formats.exports.objects import mask_of
from transforms.formats.outlines import Points, encoded, filled, turned_corners
from transforms.formats.reviewing.shapes import Box, Returned, ReviewedShape
from transforms.formats.turned_labels import as_displayed, stored_size
from transforms.frames.orientation import turned

WIDTH, HEIGHT = 80, 50
ORIENTATIONS = range(1, 9)
BOX: Box = (10, 5, 30, 12)
RING = ((12.13, 8.21), (40.37, 10.19), (33.29, 31.41))

# Of the box that begins at (10, 5) and is 30 by 12 on an image of 80 by 50, as people see it.
DISPLAYED: dict[int, Box] = {
    1: (10, 5, 30, 12),
    2: (40, 5, 30, 12),
    3: (40, 33, 30, 12),
    4: (10, 33, 30, 12),
    5: (5, 10, 12, 30),
    6: (33, 10, 12, 30),
    7: (33, 40, 12, 30),
    8: (5, 40, 12, 30),
}


def shown(orientation: int, *shapes: ReviewedShape) -> Returned:
    return as_displayed(Returned("image 1", "a.jpg", shapes, (WIDTH, HEIGHT)), orientation, WIDTH, HEIGHT)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_box_is_where_it_is_displayed(orientation: int) -> None:
    found = shown(orientation, ReviewedShape("car", BOX))
    assert found.shapes[0].box == DISPLAYED[orientation]
    assert found.size == ((HEIGHT, WIDTH) if orientation >= 5 else (WIDTH, HEIGHT))
    assert stored_size(*found.size, orientation) == (WIDTH, HEIGHT)
    picture = np.zeros((HEIGHT, WIDTH), np.uint8)
    picture[5:17, 10:40] = 1
    left, top, width, height = (int(v) for v in DISPLAYED[orientation])
    assert turned(picture, orientation)[top : top + height, left : left + width].all()


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_polygons_and_masks_cover_the_pixels_that_are_displayed(orientation: int) -> None:
    mask = filled([RING], WIDTH, HEIGHT)
    mask[15:18, 28:31] = 0
    of_rings, of_mask = shown(
        orientation,
        ReviewedShape("car", BOX, rings=(RING,)),
        ReviewedShape("car", BOX, mask_rle=encoded(mask)),
    ).shapes
    width, height = stored_size(WIDTH, HEIGHT, orientation)
    # A centre on a border is inside on one side alone, which a mirror exchanges: no centre is on one here.
    drawn = turned(filled([RING], WIDTH, HEIGHT), orientation)
    np.testing.assert_array_equal(filled(of_rings.rings, width, height), drawn)
    np.testing.assert_array_equal(mask_of({"mask_rle": of_mask.mask_rle}, width, height), turned(mask, orientation))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("degrees", [12.5, 90.0, 200.25])
def test_a_turned_box_covers_what_is_displayed(orientation: int, degrees: float) -> None:
    box: Box = (25, 15, 30, 12)
    (found,) = shown(orientation, ReviewedShape("car", box, rotation=degrees)).shapes
    assert found.box[2:] == (30, 12)
    assert 0 <= found.rotation < 360
    stored = corners(turned_corners(box, degrees))
    back = np.stack([np.array([x, y]) for x, y in stored])
    picture = {
        1: back,
        2: [WIDTH, 0] + back * [-1, 1],
        3: [WIDTH, HEIGHT] - back,
        4: [0, HEIGHT] + back * [1, -1],
        5: back[:, ::-1],
        6: [HEIGHT, 0] + back[:, ::-1] * [-1, 1],
        7: [HEIGHT, WIDTH] - back[:, ::-1],
        8: [0, WIDTH] + back[:, ::-1] * [1, -1],
    }[orientation]
    np.testing.assert_allclose(corners(turned_corners(found.box, found.rotation)), corners(picture), atol=1e-6)


def corners(points: Points) -> Points:
    """Return corners in an order of their own."""
    hull = cv2.convexHull(np.asarray(points, np.float32)).reshape(-1, 2).astype(np.float64)
    return np.roll(hull, -int(np.lexsort((hull[:, 1].round(3), hull[:, 0].round(3)))[0]), axis=0)
