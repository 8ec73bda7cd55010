"""ONNX files of trained detectors: the same boxes as torch finds, or no file and why."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from jobs.models.registry import ModelVersion
from jobs.training import onnx_export
from jobs.training.onnx_export import Parity, exported
from jobs.training.training_data import LabelledImage
from tests.torch_models import colored
from transforms.models.detect import torchvision_models
from transforms.models.detect.detections import Detections, Thresholds
from transforms.models.detect.onnx import OnnxDetector, OnnxParams
from transforms.models.detect.torchvision_models import TINY, TorchvisionConfig

pytest.importorskip("onnx", reason="onnx is not installed")
pytestmark = pytest.mark.slow


def _images(folder: Path, sizes: list[tuple[int, int]]) -> list[LabelledImage]:
    found = []
    for at, (height, width) in enumerate(sizes):
        file = folder / f"{at}.png"
        cv2.imwrite(str(file), colored(at, height, width))
        none = np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.bool_)
        found.append(LabelledImage("s", at, file, width, height, *none))
    return found


def _of_torchvision(folder: Path, seed: int = 3) -> ModelVersion:
    config = TorchvisionConfig(TINY, ("disc", "square"), 96)
    torch.manual_seed(seed)
    network = torchvision_models.build(config)
    # Random weights find everything a little; these find some things for sure.
    network.roi_heads.box_predictor.cls_score.weight.data *= 40
    folder.mkdir()
    torchvision_models.save(folder, network, config)
    return ModelVersion("yard", 1, "hash", "torchvision", folder, {"classes": ["disc", "square"]})


def test_a_detector_of_torchvision_finds_the_same_without_torch(tmp_path: Path) -> None:
    """Frames of one size that the network scales; the file has the names and the licence."""
    version = _of_torchvision(tmp_path / "net")
    made = exported(version, "BSD-3-Clause", _images(tmp_path, [(90, 160)] * 4), tmp_path / "yard.onnx")
    assert made.reason is None
    assert made.parity is not None
    assert made.parity.boxes > 5
    assert made.parity.overlap >= 0.99
    assert made.parity.scores <= 0.01
    detector = OnnxDetector(tmp_path / "yard.onnx", OnnxParams(Thresholds(0.2, 0.65, 300)))
    assert detector.names == ("disc", "square")
    assert detector.licence == "BSD-3-Clause"
    assert sorted(path.name for path in tmp_path.glob("*.onnx")) == ["yard.onnx"]
    assert not list(tmp_path.glob(".*"))


def test_frames_of_several_sizes_give_no_file_of_torchvision(tmp_path: Path) -> None:
    """A graph has one size."""
    version = _of_torchvision(tmp_path / "net")
    made = exported(version, "", _images(tmp_path, [(90, 160), (90, 120)]), tmp_path / "yard.onnx")
    assert made.file is None
    assert "the images have several" in str(made.reason)


def test_another_detector_is_never_exported_wrongly(tmp_path: Path) -> None:
    """A file that finds something else, as with weights that changed after the export, is not kept."""
    version, other = _of_torchvision(tmp_path / "net"), _of_torchvision(tmp_path / "other", seed=4)
    images = _images(tmp_path, [(90, 160)] * 2)
    onnx_export._write(other, "", (160, 90), tmp_path / "other.onnx")
    parity = onnx_export._compared(version, images, tmp_path / "other.onnx")
    assert parity.lost > 0
    assert parity.problem
    dfine = ModelVersion("gate", 1, "hash", "d-fine", tmp_path, {"classes": ["disc"]})
    assert exported(dfine, "", images, tmp_path / "gate.onnx").file is None


def test_what_is_not_found_again_is_lost() -> None:
    """Another class, another place, another score; and nothing found shows nothing."""

    def some(*rows: tuple[float, float, int]) -> Detections:
        corners = np.array([[left, 10, left + 50, 60] for left, _, _ in rows], np.float32)
        return Detections.of_corners(corners, np.array([r[1] for r in rows]), np.array([r[2] for r in rows]))

    one = some((10, 0.9, 0), (100, 0.5, 1), (200, 0.1, 0))
    assert onnx_export._partners(one, one)[:2] == (2, 0)
    for other in (
        some((10, 0.9, 0), (100, 0.5, 0)),
        some((10, 0.9, 0), (101, 0.5, 1)),
        some((10, 0.88, 0), (100, 0.5, 1)),
    ):
        assert onnx_export._partners(one, other)[:2] == (2, 1)
    assert "which shows nothing" in str(Parity(100, 0, 0, 1.0, 0.0).problem)
    assert "1 of 9 boxes" in str(Parity(100, 9, 1, 1.0, 0.0).problem)
    assert Parity(100, 9, 0, 0.995, 0.004).problem is None
