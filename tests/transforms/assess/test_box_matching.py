"""Figures of matched boxes equal those of pycocotools, also with crowds, equal scores, and parts of the images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from transforms.assess.average_precision import RankedMatches, coco_figures, curve
from transforms.assess.box_matching import FoundBoxes, LabelledBoxes, matches
from transforms.assess.detection_scores import score

pytest.importorskip("pycocotools", reason="the extra `annotate` is not installed")
_CATEGORIES = 3


def _scene(seed: int, n: int = 12, levels: int = 9) -> tuple[list[LabelledBoxes], list[FoundBoxes]]:
    """Return labelled boxes of all sizes, some of them crowds, and boxes near them, doubled ones and false ones."""
    rng = np.random.default_rng(seed)
    truth, found = [], []
    for _ in range(n):
        count = int(rng.integers(0, 12))
        sides = rng.choice([12, 40, 130], (count, 1)) * rng.uniform(0.7, 1.3, (count, 2))
        boxes = np.concatenate([rng.uniform(0, 400, (count, 2)), sides], axis=1)
        labels = rng.integers(0, _CATEGORIES, count)
        truth.append(LabelledBoxes(boxes, labels, rng.random(count) < 0.15))
        near = np.repeat(boxes, 2, axis=0) * rng.uniform(0.93, 1.07, (2 * count, 4))
        false = np.concatenate([rng.uniform(0, 400, (6, 2)), rng.uniform(5, 150, (6, 2))], axis=1)
        there = np.concatenate([near, false])
        named = np.concatenate([np.repeat(labels, 2), rng.integers(0, _CATEGORIES, 6)])
        # Few different scores: many are equal.
        found.append(FoundBoxes(there, rng.integers(1, levels, len(there)) / levels, named))
    return truth, found


def _coco(truth: list[LabelledBoxes], found: list[FoundBoxes], images: list[int]) -> dict[str, float]:
    document: dict[str, Any] = {
        "images": [{"id": at + 1, "width": 640, "height": 640} for at in range(len(images))],
        "categories": [{"id": at + 1, "name": str(at)} for at in range(_CATEGORIES)],
        "annotations": [],
    }
    results = []
    for at, image in enumerate(images):
        some = truth[image]
        for box, label, crowd in zip(some.boxes.tolist(), some.labels.tolist(), some.crowd.tolist(), strict=True):
            number = len(document["annotations"]) + 1
            row = {"id": number, "image_id": at + 1, "category_id": label + 1, "bbox": box, "iscrowd": int(crowd)}
            document["annotations"].append(row | {"area": box[2] * box[3]})
        mine = found[image]
        for box, value, label in zip(mine.boxes.tolist(), mine.scores.tolist(), mine.labels.tolist(), strict=True):
            results.append({"image_id": at + 1, "category_id": label + 1, "bbox": box, "score": value})
    return score(document, results, "bbox", 0.5).metrics


@pytest.mark.parametrize("seed", range(6))
def test_figures_equal_those_of_pycocotools(seed: int) -> None:
    """All twelve, to 1e-6."""
    truth, found = _scene(seed)
    assert coco_figures(matches(truth, found, _CATEGORIES)) == pytest.approx(
        _coco(truth, found, list(range(len(truth)))), abs=1e-6, nan_ok=True
    )


def test_weights_count_images_as_often_as_they_say() -> None:
    """Weights of 0, 1 and 3 give the figures of a set with these copies; equal scores would be in another order."""
    truth, found = _scene(42, levels=1 << 40)
    weights = np.array([0, 1, 3, 1, 0, 2, 1, 1, 0, 1, 2, 1], np.float64)
    copies = [at for at, weight in enumerate(weights) for _ in range(int(weight))]
    own = coco_figures(matches(truth, found, _CATEGORIES), weights)
    assert own == pytest.approx(_coco(truth, found, copies), abs=1e-6, nan_ok=True)


def test_known_precision_and_recall() -> None:
    """Two objects: one found at 0.9, a false box at 0.8, the other found at 0.6, doubled at 0.5."""
    box, other = [10.0, 10.0, 50.0, 50.0], [200.0, 200.0, 40.0, 40.0]
    truth = [LabelledBoxes(np.array([box, other]), np.zeros(2, np.int64), np.zeros(2, np.bool_))]
    boxes = np.array([box, [400.0, 0, 30, 30], other, other])
    found = [FoundBoxes(boxes, np.array([0.9, 0.8, 0.6, 0.5]), np.zeros(4, np.int64))]
    (match,) = matches(truth, found, 1)
    line = curve([match])
    assert line.precision.tolist() == pytest.approx([1, 1 / 2, 2 / 3, 2 / 4])
    assert line.recall.tolist() == [0.5, 0.5, 1, 1]
    # Precision 1 up to a recall of 0.5, then 2/3.
    assert RankedMatches(match).average_precision() == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_nothing_found_and_nothing_there() -> None:
    """No objects: no figure; none found: 0."""
    nothing = FoundBoxes(np.empty((0, 4)), np.empty(0), np.empty(0, np.int64))
    empty = LabelledBoxes(np.empty((0, 4)), np.empty(0, np.int64), np.empty(0, np.bool_))
    one = LabelledBoxes(np.array([[1.0, 1, 20, 20]]), np.zeros(1, np.int64), np.zeros(1, np.bool_))
    assert np.isnan(coco_figures(matches([empty], [nothing], 1))["AP"])
    assert coco_figures(matches([one], [nothing], 1))["AP"] == 0
    assert len(curve(matches([one], [nothing], 1)).scores) == 0
