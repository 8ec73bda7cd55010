"""Networks in training: a loss that falls, and what is written is what the detectors of `annotate` run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.core.errors import UserError
from jobs.training.networks import Base, base_of, network_of
from tests.torch_models import colored, write_dfine, write_rfdetr
from tests.training_material import CLASSES, picture
from transforms.models.detect.detections import Thresholds
from transforms.models.detect.pretrained import PretrainedDetector, PretrainedSpec
from transforms.models.detect.torchvision_models import TorchvisionDetector

torch = pytest.importorskip("torch", reason="the extra `train` is not installed")
pytest.importorskip("accelerate", reason="the extra `train` is not installed")

STEPS = 8


@pytest.fixture(scope="module", params=["torchvision", "d-fine", "rf-detr"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Base:
    """Return what to start from: an architecture of torchvision, small models of transformers."""
    if request.param == "torchvision":
        return base_of("torchvision:fasterrcnn-tiny")
    write = {"d-fine": write_dfine, "rf-detr": write_rfdetr}[request.param]
    return base_of(str(write(tmp_path_factory.mktemp("weights") / "tiny")))


def _batch() -> tuple[list[Any], list[Any], list[Any]]:
    images, boxes, labels = [], [], []
    for seed in range(4):
        image, objects = picture(seed)
        corners = [[x, y, x + w, y + h] for _, (x, y, w, h) in objects]
        images.append(image)
        boxes.append(np.array(corners, np.float32))
        labels.append(np.array([CLASSES.index(kind) for kind, _ in objects], np.int64))
    return images, boxes, labels


def test_the_loss_falls_and_what_is_saved_is_what_was_trained(base: Base, tmp_path: Path) -> None:
    """Over a few steps on four images; the detector that reads the folder finds what the network does."""
    torch.manual_seed(0)
    network = network_of(base, CLASSES, 96)
    optimiser = torch.optim.AdamW(network.module.parameters(), lr=1e-3)
    losses = []
    for _ in range(STEPS):
        network.module.train()
        loss = network.module(**network.batch(*_batch()))["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    network.save(tmp_path)
    frames = [picture(seed)[0] for seed in range(3)]
    mine = network.find(frames)
    again = network_of(base_of(str(tmp_path)), CLASSES, 96).find(frames)
    for one, other in zip(mine, again, strict=True):
        np.testing.assert_array_equal(one.boxes, other.boxes)
    run_by = TorchvisionDetector if base.kind == "torchvision" else PretrainedDetector
    limits = Thresholds(0.001, 1.0, 100)
    spec = PretrainedSpec(base.architecture, base.detector, tmp_path, "0" * 64, "x", CLASSES, limits, "fp32")
    for one, other in zip(mine, run_by(spec)(frames), strict=True):
        assert len(one) == len(other)
        np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-2)
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)


def test_an_image_without_objects_can_be_learnt_from(base: Base) -> None:
    """Negatives give a finite loss."""
    torch.manual_seed(0)
    network = network_of(base, CLASSES, 96)
    network.module.train()
    nothing = network.batch([colored(1)], [np.zeros((0, 4), np.float32)], [np.zeros(0, np.int64)])
    assert torch.isfinite(network.module(**nothing)["loss"])


def test_what_cannot_be_trained_is_named(tmp_path: Path) -> None:
    """Each says what would be right."""
    with pytest.raises(UserError, match="expected torchvision:NAME"):
        base_of("torchvision:none")
    with pytest.raises(UserError, match=r"a folder as transformers writes it|it cannot be trained"):
        base_of("yolo26n")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UserError, match="found bert"):
        base_of(str(tmp_path))
