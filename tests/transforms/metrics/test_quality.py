from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.curate.curation import BLUR_LIMITS
from transforms.frames.image import ImageParams, decode_gray, read_header, to_small
from transforms.metrics.quality import (
    BlurParams,
    PictureMeasures,
    Scratch,
    acutance,
    laplacian,
    mean_square,
    measure_picture,
    tenengrad,
    tone_histogram,
    tone_statistics,
    variance,
)
from transforms.synthetic import Sample, encode

Gray = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def scene() -> npt.NDArray[np.uint8]:
    """A textured scene in full HD."""
    return Sample(1920, 1080).picture(0)


def laplacian_var(gray: Gray) -> float:
    second = laplacian(gray, Scratch())
    return variance(second, mean_square(second))


def acutance_of(gray: Gray) -> float:
    scratch = Scratch()
    second = laplacian(gray, scratch)
    return acutance(gray, second, mean_square(second), scratch)


def score(picture: npt.NDArray[np.uint8], method: str = "acutance", quality: int = 92) -> float:
    data = encode(picture, quality)
    gray = decode_gray(data, read_header(data), ImageParams())
    return measure_picture(gray, BlurParams(method), Scratch()).sharpness  # type: ignore[arg-type]


@given(st.integers(0, 2**32 - 1), st.integers(3, 40), st.integers(3, 40))
def test_laplacian_var_is_that_of_opencv_in_double_precision(seed: int, height: int, width: int) -> None:
    gray = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    assert laplacian_var(gray) == pytest.approx(cv2.Laplacian(gray, cv2.CV_64F).var(), rel=1e-9, abs=1e-6)


def test_laplacian_var_of_a_dot_has_a_known_value() -> None:
    # A single dot: the response is -4v at the dot and v at its four neighbours, so E[x²] = 20 v² / n and E[x] = 0.
    gray = np.zeros((10, 10), np.uint8)
    gray[5, 5] = 50
    assert laplacian_var(gray) == pytest.approx(20 * 50**2 / 100)


def test_tenengrad_of_a_step_has_a_known_value() -> None:
    # A step of height h between two columns: the Sobel response is 4h in both columns next to it.
    gray = np.zeros((8, 8), np.uint8)
    gray[:, 4:] = 10
    assert tenengrad(gray) == pytest.approx(2 * 8 * 40**2 / 64)


def test_flat_images_have_no_sharpness() -> None:
    flat = np.full((36, 64), 90, np.uint8)
    assert measure_picture(flat, BlurParams(), Scratch()) == PictureMeasures(0.0, 0.0)


@pytest.mark.parametrize("method", ["acutance", "laplacian_var", "tenengrad"])
@pytest.mark.slow
def test_sharpness_orders_images_by_known_amounts_of_blur(scene: Gray, method: str) -> None:
    scores = [score(scene if not s else cv2.GaussianBlur(scene, (0, 0), s), method) for s in (0, 2, 4, 6, 9, 14, 20)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 8 * scores[-1]


def test_acutance_of_a_dot_has_a_known_value() -> None:
    # One dot of height v: 20 v² in the Laplacian, |x| sums to 8 v. The dot is v / 4 high in the half, where (1, -2, 1)
    # of it holds 6 (v / 4)² in each direction and sums to v, and v / 16 high in the quarter.
    v, n = 240, 64 * 64
    gray = np.zeros((64, 64), np.uint8)
    gray[32, 32] = v
    fine = (20 * v**2 / n - 1.5 * (8 * v / n) ** 2) / (2 * 6 * 60**2 / (n / 4) + 30)
    coarse = (6 * 60**2 / (n / 4) - 1.5 * (v / (n / 4)) ** 2) / (6 * 15**2 / (n / 16) + 30)
    assert acutance_of(gray) == pytest.approx((fine * coarse) ** 0.5)


def test_images_blurred_in_one_direction_have_no_acutance() -> None:
    stripes = np.tile(np.array([20, 20, 200, 200], np.uint8), (64, 16))
    assert acutance_of(stripes) == acutance_of(np.ascontiguousarray(stripes.T)) == 0.0


def test_acutance_depends_on_blur_but_not_on_contrast_or_light(scene: Gray) -> None:
    blurred = cv2.GaussianBlur(scene, (0, 0), 7)
    ways = [scene, cv2.convertScaleAbs(scene, alpha=0.5), cv2.convertScaleAbs(scene, alpha=0.6, beta=80)]
    sharp = [score(picture) for picture in ways]
    assert max(sharp) < 2 * min(sharp)
    assert score(blurred) < min(sharp) / 4
    # At half the contrast, the variance of the Laplacian is a quarter.
    plain = [score(picture, "laplacian_var") for picture in ways]
    assert max(plain) > 3.5 * min(plain)


def test_noise_is_not_sharpness(scene: Gray) -> None:
    noise = np.random.default_rng(5).normal(0, 8, (360, 640))
    small = cv2.cvtColor(cv2.resize(scene, (640, 360), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
    blurred = np.clip(cv2.GaussianBlur(small, (0, 0), 4) + noise, 0, 255).astype(np.uint8)
    assert acutance_of(blurred) < BLUR_LIMITS["acutance"].below
    assert laplacian_var(blurred) > laplacian_var(small)


@pytest.mark.parametrize("shape", [(1, 1), (7, 640), (8, 8), (9, 15)])
def test_small_images_have_a_finite_sharpness(shape: tuple[int, int]) -> None:
    gray = np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)
    assert 0 <= acutance_of(gray) < 10


def test_sharpness_is_comparable_between_resolutions(scene: Gray) -> None:
    # One lens, slightly out of focus, with sensors of several resolutions.
    view = cv2.GaussianBlur(scene, (0, 0), 2)
    cameras = [cv2.resize(view, (w, w * 9 // 16), interpolation=cv2.INTER_AREA) for w in (1920, 1280, 960, 640)]
    scores = [score(picture) for picture in cameras]
    assert max(scores) < 1.7 * min(scores)
    # Measured each at its own resolution, the scores differ by a large factor.
    plain = [laplacian_var(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)) for picture in cameras]
    assert max(plain) > 4 * min(plain)


def statistics(gray: Gray) -> dict[str, float]:
    return {name: float(values[0]) for name, values in tone_statistics(tone_histogram(gray)[None]).items()}


def test_tones_of_a_flat_image_have_known_values() -> None:
    found = statistics(np.full((9, 16), 90, np.uint8))
    assert found == {"luma_mean": 90, "luma_p05": 90, "luma_p50": 90, "luma_p95": 90, "contrast": 0, "entropy": 0}


def test_tones_of_two_halves() -> None:
    gray = np.zeros((10, 20), np.uint8)
    gray[:, 10:] = 255
    found = statistics(gray)
    assert found["luma_mean"] == 127.5
    assert found["contrast"] == 127.5
    assert found["entropy"] == 1.0
    assert (found["luma_p05"], found["luma_p95"]) == (0, 255)


def test_tones_of_all_values() -> None:
    found = statistics(np.arange(256, dtype=np.uint8).reshape(16, 16))
    assert found["entropy"] == 8.0
    assert found["luma_mean"] == 127.5
    assert (found["luma_p05"], found["luma_p50"], found["luma_p95"]) == (12, 127, 243)


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=6))
def test_tones_of_an_image_do_not_depend_on_the_others(seeds: list[int]) -> None:
    pictures = [np.random.default_rng(s).integers(0, 256, (9, 16), dtype=np.uint8) for s in seeds]
    together = tone_statistics(np.stack([tone_histogram(p) for p in pictures]))
    for at, picture in enumerate(pictures):
        assert {name: float(values[at]) for name, values in together.items()} == statistics(picture)


def test_averaged_images_keep_the_tones(scene: Gray) -> None:
    gray = cv2.cvtColor(scene, cv2.COLOR_BGR2GRAY)
    large, small = statistics(gray), statistics(to_small(gray))
    assert small["luma_mean"] == pytest.approx(large["luma_mean"], abs=0.5)
    assert small["luma_p50"] == pytest.approx(large["luma_p50"], abs=3)
