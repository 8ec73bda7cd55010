from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from transforms.frames.image import TILES, to_tiles
from transforms.metrics.motion import MotionParams, drift, keeps_tiles, motion_scores, still_tiles

Tiles = npt.NDArray[np.uint8]


def textured(seed: int = 0) -> Tiles:
    return np.random.default_rng(seed).integers(40, 160, TILES, dtype=np.uint8)


def scores(now: Tiles, before: Tiles, percentile: float = 99.8) -> tuple[float, float, float]:
    found = motion_scores(now[None], before[None], MotionParams(percentile))
    return float(found.motion[0]), float(found.motion_peak[0]), float(found.tile_contrast[0])


def test_equal_images_have_no_motion() -> None:
    assert scores(textured(), textured())[:2] == (0.0, 0.0)


def test_mean_difference_has_a_known_value() -> None:
    before = textured()
    now = before.copy()
    now[:, :32] += 51
    assert scores(now, before)[0] == pytest.approx(0.5 * 51 / 255)


def test_contrast_is_the_standard_deviation_of_the_previous_image() -> None:
    before = textured()
    assert scores(textured(1), before)[2] == pytest.approx(before.std(), rel=1e-5)


def test_a_small_object_shows_in_the_peak_and_not_in_the_mean() -> None:
    before = textured()
    now = before.copy()
    now[10:13, 20:22] += 60
    mean, peak, _ = scores(now, before)
    assert mean < 0.001
    assert peak > 0.2


def test_a_single_flickering_tile_does_not_affect_the_peak() -> None:
    before = textured()
    now = before.copy()
    now[5, 5] = 255
    assert scores(now, before)[1] < 0.005


@pytest.mark.parametrize(("gain", "offset"), [(1.0, 12), (1.08, 0), (0.93, 3), (1.05, -9)])
def test_global_changes_of_brightness_are_removed(gain: float, offset: int) -> None:
    before = textured()
    now = np.clip(np.rint(before * gain + offset), 0, 255).astype(np.uint8)
    mean, peak, _ = scores(now, before)
    assert mean > 0.01
    assert peak < 0.006


def test_brightness_change_hides_no_object() -> None:
    before = textured()
    now = np.clip(np.rint(before * 1.06 + 4), 0, 255).astype(np.uint8)
    now[10:13, 20:23] = 250
    assert scores(now, before)[1] > 0.2


def test_saturated_parts_do_not_move_under_a_rising_gain() -> None:
    before = textured()
    before[:12] = 255
    now = np.clip(np.rint(before.astype(float) * 1.05), 0, 255).astype(np.uint8)
    assert scores(now, before)[1] < 0.02


def test_scores_do_not_depend_on_the_other_frames() -> None:
    now, before = np.stack([textured(i) for i in range(40)]), np.stack([textured(i + 7) for i in range(40)])
    together = motion_scores(now, before, MotionParams())
    for at in range(40):
        alone = scores(now[at], before[at])
        assert [float(column[at]) for column in together] == list(alone)


def test_no_frames_give_no_scores() -> None:
    none = np.empty((0, *TILES), np.uint8)
    assert [len(column) for column in motion_scores(none, none, MotionParams())] == [0, 0, 0]


def test_tiles_are_means() -> None:
    small = np.zeros((90, 160), np.uint8)
    small[:, 80:] = 100
    tiles = to_tiles(small)
    assert tiles.shape == TILES
    assert (tiles[:, :32] == 0).all()
    assert (tiles[:, 32:] == 100).all()


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5, 8, 12, 16, 25, 64])
@pytest.mark.parametrize("start", [0, 1, 7])
def test_tiles_are_stored_of_one_frame_in_eight_at_any_step(step: int, start: int) -> None:
    kept = [at for at in range(2000) if keeps_tiles(start + at * step)]
    assert 200 <= len(kept) <= 300
    assert step > 1 or max(np.diff(kept)) <= 15


def test_stored_tiles_are_means_of_four() -> None:
    tiles = np.zeros((2, *TILES), np.uint8)
    tiles[0, :2, :2] = [[10, 20], [30, 42]]
    tiles[1, 34:, 62:] = 255
    kept = still_tiles(tiles)
    assert kept.shape == (2, 576)
    assert kept[0, 0] == 26
    assert kept[1, -1] == 255
    assert kept.sum() == 281


def test_drift_ignores_changes_of_illumination() -> None:
    anchor = still_tiles(textured()[None])[0]
    brighter = np.clip(anchor * 1.2 + 5, 0, 255).astype(np.uint8)
    shaded = np.clip(anchor - np.tile(np.linspace(0, 30, 32), 18), 0, 255).astype(np.uint8)
    person = anchor.copy().reshape(18, 32)
    person[8:11, 5] = np.where(anchor.reshape(18, 32)[8:11, 5] > 100, 20, 200)
    found = drift(np.stack([anchor, brighter, shaded, person.reshape(-1)]), anchor)
    assert found[0] == 0
    assert (found[:3] < 0.03).all()
    assert found[3] > 0.25
    assert drift(anchor[None][:0], anchor).shape == (0,)
