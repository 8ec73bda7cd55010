from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as masks

from transforms.formats.coco_rle import checked_runs, checked_segmentation, compressed, decompressed

BITS = arrays.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.integers(0, 1))


@settings(max_examples=200, deadline=None)
@given(BITS)
def test_encodings_of_pycocotools_are_decoded(mask: Any) -> None:
    height, width = mask.shape
    text = masks.encode(np.asfortranarray(mask))["counts"].decode()
    runs = checked_runs(text, width, height)
    assert np.array_equal(np.repeat(np.arange(len(runs)) % 2, runs), mask.T.reshape(-1))
    assert compressed(runs) == text


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, (1 << 32) - 1), min_size=1, max_size=9))
def test_long_runs_are_encoded_and_decoded(counts: list[int]) -> None:
    text = compressed(np.array(counts, np.int64))
    assert decompressed(text).tolist() == counts


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, (1 << 29) - 1), min_size=1, max_size=9))
def test_runs_are_encoded_as_by_pycocotools(counts: list[int]) -> None:
    # Where every number takes six digits, it writes the zero at the end past its buffer, and may end this process.
    counts = [0, *counts]
    expected = masks.frPyObjects({"size": [1, 1], "counts": counts}, 1, 1)["counts"].decode()
    assert compressed(np.array(counts, np.int64)) == expected


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40))
def test_any_text_gives_a_mask_of_the_image_or_is_refused(text: str) -> None:
    try:
        runs = checked_runs(text, 8, 5)
    except ValueError:
        return
    assert runs.sum() == 40
    assert (runs >= 0).all()


@pytest.mark.parametrize("text", ["", "zzzz garbage", "P", "PPPPPPPPPP0", "o" * 40, "ü", "\ud800", "O"])
def test_invalid_compressed_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected COCO's compressed run lengths"):
        decompressed(text)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"size": [5, 8], "counts": "0"}, "add up to 40, found 0"),
        ({"size": [5, 8], "counts": [39, 2]}, "add up to 40, found 41"),
        ({"size": [5, 8], "counts": [-1, 41]}, "run lengths from 0 on"),
        ({"size": [5, 8], "counts": [1 << 70]}, "run lengths from 0 on"),
        ({"size": [5, 8], "counts": [40.0]}, "run lengths from 0 on"),
        ({"size": [8, 5], "counts": [40]}, r"the size \[5, 8\] of its image"),
        ({"size": [5, 8]}, "size and counts"),
        ("0", "size and counts"),
        ([[1, 2, 3]], "three points, found 3 numbers"),
        ([[1, 2, 3, 4, 5, 6, 7]], "three points, found 7 numbers"),
        ([[1, 2, 3, 4, 5, float("nan")]], "expected numbers, found nan"),
        ([[1, 2, 3, 4, 5, "6"]], "expected numbers, found '6'"),
        ([[1, 2, 3, 4, 5, 1e300]], "far outside the image of 8x5"),
        ([1, 2, 3, 4, 5, 6], "expected lists of numbers"),
    ],
)
def test_segmentations_that_do_not_fit_the_image_are_refused(found: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        checked_segmentation(found, 8, 5)


def test_images_that_pycocotools_cannot_hold_are_refused() -> None:
    side = 1 << 15
    with pytest.raises(ValueError, match="expected an image of fewer than 536870912 pixels, found 32768x32768"):
        checked_runs([side * side // 4] * 4, side, side)


def test_valid_segmentations_are_accepted() -> None:
    checked_segmentation([[0, 0, 8, 0, 8.5, 5.5]], 8, 5)
    checked_segmentation({"size": [5, 8], "counts": [0, 40]}, 8, 5)
    checked_segmentation({"size": [5, 8], "counts": compressed(np.array([3, 30, 7]))}, 8, 5)
