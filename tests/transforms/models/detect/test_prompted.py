"""Detectors that are prompted, compared with the library itself on small models of random weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.torch_models import colored, write_owl, write_sam3
from transforms.models.detect.detections import Detections, Thresholds
from transforms.models.detect.pretrained import PretrainedSpec
from transforms.models.detect.prompted import Owl, Sam3, surest

pytest.importorskip("transformers", reason="the extra `transformers` is not installed")
PHRASES = ("cat", "red car", "tree")
SIZES = [(90, 160), (120, 100), (90, 160)]


@pytest.fixture(scope="module")
def owl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_owl(tmp_path_factory.mktemp("weights") / "owl")


@pytest.fixture(scope="module")
def sam3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sam3(tmp_path_factory.mktemp("weights") / "sam3")


def spec(kind: str, folder: Path, min_score: float, batch: int = 8) -> PretrainedSpec:
    limits = Thresholds(min_score, 1, 300)
    return PretrainedSpec(kind, "x", folder, "0" * 64, "tiny", PHRASES, limits, "fp32", batch)


def pictures() -> list[np.ndarray]:
    return [colored(seed, *size) for seed, size in enumerate(SIZES)]


def assert_alike(mine: Detections, other: Detections) -> None:
    assert len(mine) == len(other)
    np.testing.assert_allclose(mine.boxes, other.boxes, atol=1e-2)
    np.testing.assert_allclose(mine.scores, other.scores, atol=1e-4)
    np.testing.assert_array_equal(mine.labels, other.labels)


def test_owl_results_equal_those_of_the_library(owl: Path) -> None:
    import torch
    from PIL import Image
    from transformers import Owlv2ForObjectDetection, Owlv2Processor

    frames = pictures()
    mine = Owl(spec("Owlv2ForObjectDetection", owl, 0.0))(frames)
    model, processor = Owlv2ForObjectDetection.from_pretrained(owl).eval(), Owlv2Processor.from_pretrained(owl)
    given = [Image.fromarray(frame[:, :, ::-1]) for frame in frames]
    inputs = processor(text=[list(PHRASES)] * 3, images=given, return_tensors="pt")
    with torch.inference_mode():
        outputs = model(**inputs)
    results = processor.post_process_grounded_object_detection(outputs, threshold=0.0, target_sizes=SIZES)
    labels = set()
    for found, theirs, (height, width) in zip(mine, results, SIZES, strict=True):
        corners = theirs["boxes"].numpy().clip(0, [width, height, width, height])
        assert_alike(found, Detections.of_corners(corners, theirs["scores"].numpy(), theirs["labels"].numpy()))
        labels |= set(found.labels.tolist())
    assert len(labels) > 1
    assert sum(len(each) for each in mine) > 6
    for found, alone in zip(mine, Owl(spec("Owlv2ForObjectDetection", owl, 0.0, 1))(frames), strict=True):
        assert_alike(found, alone)


def test_sam3_results_equal_those_of_the_library(sam3: Path) -> None:
    import torch
    from PIL import Image
    from pycocotools import mask as coded
    from transformers import Sam3Model, Sam3Processor

    frames = pictures()
    mine = Sam3(spec("Sam3Model", sam3, 0.0))(frames)
    model, processor = Sam3Model.from_pretrained(sam3).eval(), Sam3Processor.from_pretrained(sam3)
    for frame, found, size in zip(frames, mine, SIZES, strict=True):
        searches = []
        for label, phrase in enumerate(PHRASES):
            given = processor(images=Image.fromarray(frame[:, :, ::-1]), text=phrase, return_tensors="pt")
            with torch.inference_mode():
                outputs = model(**given)
            said = processor.post_process_instance_segmentation(
                outputs, threshold=0.0, mask_threshold=0.5, target_sizes=[size]
            )[0]
            corners = said["boxes"].numpy().clip(0, [size[1], size[0], size[1], size[0]])
            plain = Detections.of_corners(corners, said["scores"].numpy(), np.full(len(corners), label))
            masks = [
                coded.encode(np.asfortranarray(m.numpy().astype(np.uint8)))["counts"].decode() for m in said["masks"]
            ]
            order = np.argsort(-said["scores"].numpy(), kind="stable")
            searches.append(Detections(plain.boxes, plain.scores, plain.labels, tuple(masks[at] for at in order)))
        expected = surest(searches, Thresholds(0, 1, 300))
        assert_alike(found, expected)
        assert len(found) == len(found.masks) > 3
        for one, other in zip(found.masks, expected.masks, strict=True):
            pair = [coded.decode({"size": list(size), "counts": text.encode()}) for text in (one, other)]
            assert (pair[0] != pair[1]).mean() < 0.002
    again = Sam3(spec("Sam3Model", sam3, 0.0))([frames[1]])[0]
    assert again.masks == mine[1].masks


@pytest.mark.parametrize("write", [write_owl, write_sam3])
def test_other_weights_give_other_results(write: Callable[..., Path], tmp_path: Path) -> None:
    kind, made = ("Sam3Model", Sam3) if write is write_sam3 else ("Owlv2ForObjectDetection", Owl)
    one, other = (made(spec(kind, write(tmp_path / str(seed), seed=seed), 0.0))([colored(1)])[0] for seed in (0, 1))
    assert not np.array_equal(one.boxes, other.boxes)
