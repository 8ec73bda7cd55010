"""The loop of a training: steps that teach nothing, an end on request, and patience."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from jobs.training.loop import DivergedError, Hooks, LoopParams, TrainingProgress, fit, last_checkpoint
from jobs.training.training_data import LabelledImage

torch = pytest.importorskip("torch", reason="the extra `train` is not installed")
pytest.importorskip("accelerate", reason="the extra `train` is not installed")

IMAGES, BATCH = 6, 2
PARAMS = LoopParams(epochs=4, batch=BATCH, seed=0, learning_rate=0.02, augment="none")


class Line:
    """A network of one weight that learns the mean brightness of images: its loss is a parabola."""

    def __init__(self, spoil: Callable[[int], float] = lambda step: 1.0) -> None:
        outer = self
        self.steps = 0

        class Module(torch.nn.Module):  # type: ignore[misc,name-defined]
            """One weight."""

            def __init__(self) -> None:
                super().__init__()
                self.weight = torch.nn.Parameter(torch.zeros(1))

            def forward(self, images: Any) -> dict[str, Any]:
                """Return the squared distance, times what spoils it."""
                outer.steps += 1
                return {"loss": ((images - self.weight) ** 2).mean() * spoil(outer.steps)}

        self.module: Any = Module()

    def batch(self, images: Sequence[Any], _boxes: Sequence[Any], _labels: Sequence[Any]) -> dict[str, Any]:
        """Return the mean of each image, 0..1."""
        return {"images": torch.tensor([float(image.mean()) / 255 for image in images])}

    def find(self, images: Sequence[Any]) -> list[Any]:
        """Nothing is found."""
        return [None for _ in images]

    def save(self, folder: Path) -> None:
        """Nothing is kept."""


@pytest.fixture
def images(tmp_path: Path) -> list[LabelledImage]:
    """Return grey images of different brightness, without objects."""
    found = []
    for at in range(IMAGES):
        file = tmp_path / f"{at}.png"
        cv2.imwrite(str(file), np.full((8, 8, 3), 20 * at, np.uint8))
        nothing = np.zeros((0, 4), np.float32)
        found.append(LabelledImage("cam", at, file, 8, 8, nothing, np.zeros(0, np.int64), np.zeros(0, np.bool_)))
    return found


def _hooks(scores: Sequence[float] = (), ends: Callable[[], bool] = lambda: False, patience: int = 99) -> Hooks:
    def epoch_done(epoch: int, loss: float, _seconds: float) -> dict[str, float]:
        return {"epoch": epoch, "loss": loss, "score": scores[epoch - 1] if scores else float(epoch)}

    def is_over(progress: TrainingProgress) -> bool:
        return progress.best is not None and len(progress.history) - progress.best >= patience

    return Hooks(ends, epoch_done, lambda epoch: None, lambda progress: None, is_over, lambda figures: None)


def test_all_epochs_are_measured_and_the_best_one_is_known(images: list[LabelledImage], tmp_path: Path) -> None:
    """The loss falls, and the third of four epochs has the highest score."""
    progress, early = fit(Line(), images, PARAMS, tmp_path, _hooks([0.1, 0.2, 0.9, 0.3]))
    assert not early
    assert progress.best == 3
    losses = [each["loss"] for each in progress.history]
    assert len(losses) == 4
    assert losses[-1] < losses[0]


def test_patience_ends_it(images: list[LabelledImage], tmp_path: Path) -> None:
    """Two epochs after the best one it is over, and stays over."""
    hooks = _hooks([0.5, 0.4, 0.3, 0.9], patience=2)
    progress, early = fit(Line(), images, PARAMS, tmp_path, hooks)
    assert (len(progress.history), progress.best, early) == (3, 1, False)
    again, _ = fit(Line(), images, PARAMS, tmp_path, hooks)
    assert len(again.history) == 3


def test_it_ends_after_a_step_and_continues_with_the_same_weights(images: list[LabelledImage], tmp_path: Path) -> None:
    """Ended within the second epoch: a checkpoint, and at the end the weight of a training without a break."""
    whole = Line()
    fit(whole, images, PARAMS, tmp_path / "whole", _hooks())
    broken = Line()
    _, early = fit(broken, images, PARAMS, tmp_path / "broken", _hooks(ends=lambda: broken.steps == 5))
    assert early
    assert last_checkpoint(tmp_path / "broken") == tmp_path / "broken" / "checkpoints" / "step-5"
    later = Line()
    progress, early = fit(later, images, PARAMS, tmp_path / "broken", _hooks())
    assert not early
    assert [each["epoch"] for each in progress.history] == [1, 2, 3, 4]
    assert later.steps == whole.steps - 5
    assert torch.equal(later.module.weight, whole.module.weight)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_step_without_a_number_changes_no_weight(images: list[LabelledImage], tmp_path: Path, bad: float) -> None:
    """One such step in between is skipped, and the weight stays finite."""
    network = Line(lambda step: bad if step == 2 else 1.0)
    progress, _ = fit(network, images, PARAMS, tmp_path, _hooks())
    assert len(progress.history) == 4
    assert torch.isfinite(network.module.weight).all()


def test_ten_in_a_row_end_it_and_name_the_images(images: list[LabelledImage], tmp_path: Path) -> None:
    """The message has the files of the last step."""
    with pytest.raises(DivergedError) as caught:
        fit(Line(lambda step: float("nan") if step > 1 else 1.0), images, PARAMS, tmp_path, _hooks())
    assert sum(str(image.file) in str(caught.value) for image in images) == BATCH
