"""Detectors of transformers, compared with the library itself on a small model of random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.torch_models import LABELS, colored, write_dfine
from transforms.models.detect.detections import Detections, Thresholds
from transforms.models.detect.pretrained import PretrainedDetector, PretrainedSpec
from transforms.models.inference import ModelError
from transforms.models.torch_runtime import Precision

pytest.importorskip("transformers", reason="the extra `transformers` is not installed")
SIZES = [(90, 160), (160, 90), (64, 64), (300, 200), (90, 160)]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dfine(tmp_path_factory.mktemp("weights") / "tiny")


def detector(folder: Path, min_score: float = 0.0, precision: Precision = "fp32", batch: int = 8) -> PretrainedDetector:
    limits = Thresholds(min_score, 1, 300)
    spec = PretrainedSpec(
        "DFineForObjectDetection", "d-fine", folder, "0" * 64, "tiny", LABELS, limits, precision, batch
    )
    return PretrainedDetector(spec)


def test_results_equal_those_of_the_library(weights: Path) -> None:
    import torch
    from PIL import Image
    from transformers import AutoImageProcessor, DFineForObjectDetection

    frames = [colored(seed, *size) for seed, size in enumerate(SIZES)]
    model = DFineForObjectDetection.from_pretrained(weights).eval()
    processor = AutoImageProcessor.from_pretrained(weights)
    given = processor(images=[Image.fromarray(frame[:, :, ::-1]) for frame in frames], return_tensors="pt")
    with torch.inference_mode():
        theirs = processor.post_process_object_detection(model(**given), threshold=0.0, target_sizes=SIZES)
    for mine, other, (height, width) in zip(detector(weights)(frames), theirs, SIZES, strict=True):
        corners = other["boxes"].numpy().clip(0, [width, height, width, height])
        expected = Detections.of_corners(corners, other["scores"].numpy(), other["labels"].numpy())
        assert len(mine) == len(expected) > 5
        np.testing.assert_allclose(mine.boxes, expected.boxes, atol=1e-3)
        np.testing.assert_allclose(mine.scores, expected.scores, atol=1e-6)
        np.testing.assert_array_equal(mine.labels, expected.labels)
        assert (mine.boxes[:, :2] >= 0).all()
        assert (mine.boxes[:, :2] + mine.boxes[:, 2:] <= [width + 1e-3, height + 1e-3]).all()


def test_results_do_not_depend_on_the_batch(weights: Path) -> None:
    frames = [colored(seed) for seed in range(5)]
    together = detector(weights, 0.02)(frames)
    assert len({tuple(each.boxes[0]) for each in together}) == 5
    for batch in (1, 2):
        for one, other in zip(detector(weights, 0.02, batch=batch)(frames), together, strict=True):
            np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-3)
            np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)
    again = detector(weights, 0.02)(frames)
    for one, other in zip(again, together, strict=True):
        np.testing.assert_array_equal(one.boxes, other.boxes)


def test_half_precision_is_near_to_single(weights: Path) -> None:
    frame = colored(3)
    full, half = (detector(weights, precision=precision)([frame])[0] for precision in ("fp32", "bf16"))
    assert half.boxes.dtype == np.float32
    np.testing.assert_allclose(np.sort(half.scores)[-3:], np.sort(full.scores)[-3:], atol=0.05)


def test_incomplete_weights_are_refused(weights: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    for name in ("config.json", "preprocessor_config.json"):
        (tmp_path / name).write_bytes((weights / name).read_bytes())
    held = load_file(weights / "model.safetensors")
    gone = next(name for name in held if "class_embed" in name)
    save_file({k: v for k, v in held.items() if k != gone}, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match="of its weights are missing"):
        detector(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelError, match="holds no DFineForObjectDetection"):
        detector(tmp_path)
