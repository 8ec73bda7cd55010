"""What the dry run of a training says of time, and what it recommends, with known answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jobs.training.estimate import estimate
from jobs.training.networks import base_of
from jobs.training.options import TrainOptions
from jobs.training.preflight import recommended
from jobs.training.training_data import LabelledImage, TrainingData

OPTIONS = TrainOptions(release="v1", model="torchvision:fasterrcnn-tiny", name="x", size=320, batch=8, epochs=10)


def _data(side: float, n: int, longest: int = 1280) -> TrainingData:
    """Return `n` images of 1280 x 720 with an object of this side on each."""
    box = np.array([[10, 10, 10 + side, 10 + side]], np.float32)
    one, no = np.zeros(1, np.int64), np.zeros(1, np.bool_)
    images = [LabelledImage("s", at, Path("none.png"), longest, 720, box, one, no) for at in range(n)]
    return TrainingData(("car",), {"train": images, "val": images[:2]}, {}, 0, {})


@pytest.mark.parametrize(
    ("side", "n", "expected"),
    [
        # 24 px of 1280 are 6 px at 320, 8 px at 427: the next multiple of 32 is 448.
        (24, 100, {"size": 448}),
        (40, 100, {}),
        # 4 px would need 2560, and no image has more than 1280.
        (4, 100, {"size": 1280}),
        # 12 images at 8 are two steps; 3 at a time are four.
        (40, 12, {"batch": 3}),
        (24, 3, {"size": 448, "batch": 1}),
    ],
)
def test_recommendations_have_known_answers(side: float, n: int, expected: dict[str, int]) -> None:
    """By sizes of objects and numbers of images, each with its reason."""
    found = recommended(_data(side, n), OPTIONS, "torchvision")
    assert {each["option"]: each["value"] for each in found} == expected
    assert all(each["reason"] for each in found)


def test_time_is_of_all_steps_and_of_measuring() -> None:
    """Twenty images at four: five steps an epoch, and two images to measure."""
    pytest.importorskip("torchvision", reason="the extra `train` is not installed")
    options = OPTIONS.model_copy(update={"size": 64, "batch": 4, "threads": 1})
    found = estimate(base_of(options.model), _data(80, 20, 960), options)
    assert found.step_s > 0
    assert found.minutes == pytest.approx(10 * (5 * found.step_s + 2 * found.frame_s) / 60)
    assert found.memory_bytes > 100 << 20
