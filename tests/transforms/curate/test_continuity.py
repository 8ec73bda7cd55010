from __future__ import annotations

import numpy as np
import numpy.typing as npt

from transforms.curate.continuity import is_continuous


def pairs(frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.stack([frames[:-1], frames[1:]], axis=1)


def test_a_scene_in_which_little_changes_is_continuous() -> None:
    rng = np.random.default_rng(0)
    scene = rng.integers(30, 220, 64)
    frames = np.stack([scene + rng.integers(-5, 6, 64) for _ in range(40)]).astype(np.uint8)
    assert is_continuous(pairs(frames))


def test_a_fast_camera_is_continuous_though_neighbours_differ() -> None:
    rng = np.random.default_rng(1)
    ground = np.repeat(rng.integers(0, 200, (8, 800), np.uint8), 7, axis=1)
    frames = np.stack([ground[:, 5 * n : 5 * n + 8].reshape(-1) for n in range(200)])
    frames = frames + rng.integers(0, 50, frames.shape, np.uint8)
    assert is_continuous(pairs(frames))


def test_unrelated_images_are_not_continuous() -> None:
    for n in (0, 1, 2, 5, 40, 400):
        frames = np.random.default_rng(n).integers(0, 256, (n + 1, 64), np.uint8)
        assert not is_continuous(pairs(frames))
