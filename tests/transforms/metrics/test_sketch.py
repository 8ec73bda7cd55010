from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.frames.image import Gray
from transforms.metrics.sketch import SIZE, distance, repeats, sketch


def picture(seed: int, shape: tuple[int, int] = (180, 320)) -> Gray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def apart(a: Gray, b: Gray) -> float:
    first, second = sketch(a), sketch(b)
    assert first is not None
    assert second is not None
    return float(distance(first[None], second[None])[0])


@pytest.mark.parametrize("noise", [0.4, 1.0, 5.0, 20.0])
def test_the_distance_estimates_that_of_the_images(noise: float) -> None:
    rng = np.random.default_rng(7)
    ratios = []
    for seed in range(40):
        a = rng.integers(60, 190, (180, 320)).astype(np.uint8)
        b = np.clip(np.rint(a + np.random.default_rng(seed).normal(0, noise, a.shape)), 0, 255).astype(np.uint8)
        ratios.append(apart(a, b) / np.sqrt(np.square(a.astype(float) - b).mean()))
    # The standard error of the mean of 40 draws is 3 %.
    assert np.mean(ratios) == pytest.approx(1, abs=0.1)
    assert np.std(ratios) == pytest.approx(1 / np.sqrt(2 * SIZE), rel=0.35)


def test_distant_images_stay_distant_although_numbers_wrap() -> None:
    black, white = np.zeros((180, 320), np.uint8), np.full((180, 320), 255, np.uint8)
    assert min(apart(picture(a), picture(b)) for a in range(8) for b in range(a)) > 10
    assert apart(black, white) > 10


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 3))
def test_the_sketch_does_not_depend_on_the_memory_layout(height: int, width: int, seed: int) -> None:
    shown = picture(seed, (height, width))
    found = sketch(shown)
    if found is None:
        assert height * width < SIZE
        return
    assert found.shape == (SIZE,)
    assert found.dtype == np.int16
    wide = np.zeros((height, 2 * width), np.uint8)
    wide[:, ::2] = shown
    again = sketch(wide[:, ::2])
    assert again is not None
    assert found.tolist() == again.tolist()


def test_sums_of_large_images_are_exact() -> None:
    white = np.full((2160, 7680), 255, np.uint8)
    turned = white.copy()
    turned[:, 5000:] = 254
    assert apart(white, turned) == pytest.approx(np.sqrt(2680 / 7680), rel=0.6)


def test_repeats_are_searched_a_few_images_back_within_a_scene() -> None:
    sketches = np.array([sketch(picture(seed)) for seed in (0, 1, 0, 2, 0, 1)], np.int16)
    one = np.zeros(6, np.int64)
    assert repeats(sketches, one, 0.1, 1).tolist() == [False] * 6
    assert repeats(sketches, one, 0.1, 2).tolist() == [False, False, True, False, True, False]
    assert repeats(sketches, one, 0.1, 9).tolist() == [False, False, True, False, True, True]
    assert repeats(sketches, np.array([0, 0, 1, 1, 1, 1]), 0.1, 9).tolist() == [False] * 4 + [True, False]
    assert repeats(sketches[:0], one[:0], 0.1, 9).tolist() == []
