from __future__ import annotations

import numpy as np

from transforms.core.boxes import box_iou


def test_box_iou_is_intersection_over_union() -> None:
    one = np.array([[0.0, 0, 10, 10], [20, 20, 5, 5]])
    other = np.array([[0.0, 0, 10, 10], [5, 0, 10, 10]])
    np.testing.assert_allclose(box_iou(one, other), np.array([[1, 1 / 3], [0, 0]]))


def test_boxes_without_area_have_iou_0() -> None:
    point = np.array([[3.0, 3, 0, 0]])
    assert box_iou(point, point).tolist() == [[0.0]]
    assert box_iou(point[:0], point).shape == (0, 1)
