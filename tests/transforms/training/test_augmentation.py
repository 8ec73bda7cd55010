"""Augmentation: known answers for boxes, and boxes that stay where their pixels are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.training.augmentation import PRESETS, Strength, augmented
from transforms.training.hashed_random import generator_for
from transforms.training.preset import Preset

_BOXES = np.array([[10, 20, 30, 60]], np.float32)


def _image(width: int = 100, height: int = 80) -> np.ndarray:
    return np.full((height, width, 3), 60, np.uint8)


def test_without_strength_nothing_changes() -> None:
    """The preset `none` returns the bytes it was given."""
    image = np.arange(100 * 80 * 3, dtype=np.uint8).reshape(80, 100, 3)
    found = augmented(image, _BOXES, PRESETS["none"], np.random.default_rng(0))
    np.testing.assert_array_equal(found.image, image)
    np.testing.assert_array_equal(found.boxes, _BOXES)


def test_a_mirrored_image_has_its_box_on_the_other_side() -> None:
    """A box from 10 to 30 of 100 pixels is from 70 to 90 in the mirror, and the pixels are reversed exactly."""
    image = np.arange(100 * 80 * 3, dtype=np.uint8).reshape(80, 100, 3)
    found = augmented(image, _BOXES, Strength(flip=1.0), np.random.default_rng(0))
    np.testing.assert_array_equal(found.boxes, [[70, 20, 90, 60]])
    np.testing.assert_array_equal(found.image, image[:, ::-1])


def test_zoom_scales_about_the_middle() -> None:
    """Half the size moves (10, 20) to (50 + (10 - 50) / 2, 40 + (20 - 40) / 2)."""
    found = augmented(_image(), _BOXES, Strength(zoom=(0.5, 0.5)), np.random.default_rng(0))
    np.testing.assert_allclose(found.boxes, [[30, 30, 40, 50]], atol=1e-4)


def test_an_object_that_has_left_the_image_is_left_out() -> None:
    """At twice the size, a box in the corner is outside; its position says which one stayed."""
    boxes = np.array([[0, 0, 10, 10], [40, 30, 60, 50]], np.float32)
    found = augmented(_image(), boxes, Strength(zoom=(2.0, 2.0)), np.random.default_rng(0))
    assert found.kept.tolist() == [1]


def test_an_image_without_objects_stays_one() -> None:
    """Negatives keep the shapes of arrays."""
    found = augmented(_image(), np.zeros((0, 4), np.float32), PRESETS["strong"], np.random.default_rng(0))
    assert found.boxes.shape == (0, 4)
    assert found.kept.shape == (0,)


@pytest.mark.parametrize("preset", ["minimal", "standard", "strong"])
def test_the_same_generator_gives_the_same_bytes(preset: Preset) -> None:
    """Nothing else than the generator decides."""
    image = np.random.default_rng(1).integers(0, 256, (80, 100, 3), np.uint8)
    one, other = (augmented(image, _BOXES, PRESETS[preset], generator_for(0, 3, "a")) for _ in range(2))
    np.testing.assert_array_equal(one.image, other.image)
    np.testing.assert_array_equal(one.boxes, other.boxes)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**31), st.integers(8, 40), st.integers(8, 40), st.integers(10, 50), st.integers(10, 30))
def test_boxes_stay_around_their_pixels(seed: int, wide: int, high: int, left: int, top: int) -> None:
    """A bright block on dark ground is where its box is, to a pixel, after any flip, zoom and shift."""
    image = np.zeros((80, 100, 3), np.uint8)
    image[top : top + high, left : left + wide] = 255
    box = np.array([[left, top, left + wide, top + high]], np.float32)
    strength = Strength(flip=0.5, zoom=(0.7, 1.3), shift=0.1)
    found = augmented(image, box, strength, np.random.default_rng(seed))
    grey = found.image[:, :, 0]
    bright = np.argwhere(grey > 200)
    if not len(found.boxes) or not len(bright):
        return
    (top_, left_), (bottom, right) = bright.min(axis=0), bright.max(axis=0) + 1
    np.testing.assert_allclose(found.boxes[0], [left_, top_, right, bottom], atol=1.0)
