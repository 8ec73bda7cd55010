from __future__ import annotations

import numpy as np

from tests.transforms.formats.exports.material import objects, two_parts
from transforms.formats.exports.objects import clipped_box, corners_of, outlines_of, vocabulary
from transforms.formats.outlines import outlines, smallest_turned_box


def test_objects_are_in_order_of_frames_then_descending_score() -> None:
    there = objects()
    assert there.rows.select(["row", "label", "score"]).to_pylist() == [
        {"row": 0, "label": 2, "score": 0.75},
        {"row": 0, "label": 0, "score": 0.5},
        {"row": 2, "label": 1, "score": 0.25},
    ]
    assert [len(there.of(row)) for row in range(3)] == [2, 0, 1]


def test_labels_are_numbered_by_the_models_lists() -> None:
    assert vocabulary([("b", "a"), ("c", "a", "d")], ["d", "z", "e"]) == ("c", "a", "d", "b", "e", "z")
    assert vocabulary([("c", "a", "d"), ("b", "a")], []) == ("c", "a", "d", "b")
    assert vocabulary([], ["b", "a", "b"]) == ("a", "b")


def test_a_turned_box_has_an_upright_one_around_it() -> None:
    each = {"bbox_x": 10, "bbox_y": 20, "bbox_w": 30, "bbox_h": 10, "rotation": 90.0, "mask_rle": None}
    np.testing.assert_allclose(clipped_box(each, 80, 60), [20, 10, 30, 40])
    np.testing.assert_allclose(corners_of(each)[0], [30, 10])
    np.testing.assert_allclose(clipped_box(each | {"rotation": None}, 25, 60), [10, 20, 25, 30])


def test_polygons_of_people_are_the_outline() -> None:
    drawn = [1.0, 1.0, 9.5, 1.25, 4.0, 8.0]
    each = {"mask_rle": "anything", "polygons": [drawn]}
    (ring,) = outlines_of(each, 80, 60).parts
    assert ring.reshape(-1).tolist() == drawn


def test_a_rotated_box_fits_tightly() -> None:
    mask = two_parts()
    mask[:20] = 0
    corners = smallest_turned_box(outlines(mask).joined)
    sides = np.sort(np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1))
    np.testing.assert_allclose(sides, [6, 6, 20, 20], atol=1.5)
    np.testing.assert_allclose(corners.mean(axis=0), [55, 35], atol=1)
