from __future__ import annotations

import cv2
import numpy as np

from tests.transforms.formats.exports.material import objects, two_parts
from transforms.formats.exports.objects import outline, turned_box, vocabulary


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


def test_filling_an_outline_gives_the_mask() -> None:
    mask = two_parts()
    polygon = outline(mask)
    again = np.zeros_like(mask)
    cv2.fillPoly(again, [np.floor(polygon).astype(np.int32)], (1,))
    assert not (mask & ~again & 1).any()
    # The only other pixels drawn are those of the line that joins both parts; it encloses nothing.
    x, y = polygon.T
    enclosed = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
    assert 0.7 * mask.sum() < enclosed < mask.sum()
    assert len(outline(np.zeros((4, 4), np.uint8))) == 0


def test_a_rotated_box_fits_tightly() -> None:
    mask = two_parts()
    mask[:20] = 0
    corners = turned_box(outline(mask))
    sides = np.sort(np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1))
    np.testing.assert_allclose(sides, [6, 6, 20, 20], atol=1.5)
    np.testing.assert_allclose(corners.mean(axis=0), [55, 35], atol=1)
