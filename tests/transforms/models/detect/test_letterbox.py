from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.models.detect.letterbox import PAD, letterbox, non_max_suppression


@pytest.mark.parametrize(
    ("shape", "centred", "inner"),
    [
        # left, top, width, height of the image within 64x64
        ((100, 200), False, (0, 0, 64, 32)),
        ((100, 200), True, (0, 16, 64, 32)),
        ((200, 101), False, (0, 0, 32, 64)),
        ((31, 64), True, (0, 16, 64, 31)),
        ((10, 10), True, (0, 0, 64, 64)),
    ],
)
def test_the_letterbox_has_known_values(
    shape: tuple[int, int], centred: bool, inner: tuple[int, int, int, int]
) -> None:
    canvas, fit = letterbox(np.zeros((*shape, 3), np.uint8), (64, 64), centred)
    left, top, width, height = inner
    expected = np.full((64, 64, 3), PAD, np.uint8)
    expected[top : top + height, left : left + width] = 0
    assert np.array_equal(canvas, expected)
    corners = np.array([[left, top, left + width, top + height]], np.float32)
    np.testing.assert_allclose(fit.back(corners)[0], [0, 0, shape[1], shape[0]], atol=max(shape) / 64)


def reference(corners: npt.NDArray[Any], scores: npt.NDArray[Any], labels: npt.NDArray[Any], iou: float) -> list[int]:
    """Return the boxes that are kept by the definition, box by box."""
    kept: list[int] = []
    for i in sorted(range(len(scores)), key=lambda i: -scores[i]):
        for j in kept:
            a, b = corners[i], corners[j]
            across, down = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
            both = max(0.0, across) * max(0.0, down)
            either = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
            if labels[i] == labels[j] and both > iou * either:
                break
        else:
            kept.append(i)
    return kept


Box = st.tuples(st.integers(-8, 40), st.integers(-8, 40), st.integers(1, 24), st.integers(1, 24))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(Box, st.sampled_from([0.2, 0.5, 0.9]), st.integers(0, 2)), max_size=25),
    st.sampled_from([0.3, 0.45, 0.65]),
)
def test_suppression_follows_the_definition(objects: list[tuple[tuple[int, ...], float, int]], iou: float) -> None:
    boxes = np.array([o[0] for o in objects], np.float32).reshape(-1, 4)
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    scores, labels = np.array([o[1] for o in objects], np.float32), np.array([o[2] for o in objects], np.int64)
    assert non_max_suppression(corners, scores, labels, iou).tolist() == reference(corners, scores, labels, iou)


def test_suppression_has_a_known_result() -> None:
    corners = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 9], [0, 0, 10, 5]], np.float32)
    labels = np.array([0, 0, 1, 0])
    assert non_max_suppression(corners, np.array([0.8, 0.9, 0.7, 0.6], np.float32), labels, 0.65).tolist() == [1, 2, 3]
