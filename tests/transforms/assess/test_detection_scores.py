from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from transforms.assess.detection_scores import confusion, score

pytest.importorskip("pycocotools", reason="the extra `annotate` is not installed")
CATEGORIES = [{"id": 5, "name": "cat"}, {"id": 3, "name": "dog"}]


def truth(*objects: tuple[int, int, Sequence[float]], crowd: bool = False) -> dict[str, Any]:
    return {
        "images": [{"id": n, "width": 200, "height": 200} for n in (1, 2)],
        "categories": CATEGORIES,
        "annotations": [
            {"id": at, "image_id": i, "category_id": c, "bbox": b, "area": b[2] * b[3], "iscrowd": int(crowd)}
            for at, (i, c, b) in enumerate(objects, 1)
        ],
    }


def found(*objects: tuple[int, int, Sequence[float], float]) -> list[dict[str, Any]]:
    return [{"image_id": i, "category_id": c, "bbox": b, "score": s} for i, c, b, s in objects]


BOX, FAR = [10, 10, 50, 50], [120, 120, 40, 40]


def test_perfect_detections_score_one_and_none_score_zero() -> None:
    labels = truth((1, 5, BOX), (2, 3, FAR))
    right = score(labels, found((1, 5, BOX, 0.9), (2, 3, FAR, 0.8)), "bbox", 0.25)
    assert right.metrics["AP"] == pytest.approx(1)
    assert math.isnan(right.metrics["APs"])
    assert {c.category: (c.n_truth, c.precision, c.recall) for c in right.classes} == {
        "cat": (1, 1, 1),
        "dog": (1, 1, 1),
    }
    none = score(labels, [], "bbox", 0.25)
    assert (none.metrics["AP"], none.metrics["AR100"]) == (0, 0)
    assert none.confusion.tolist() == [[0, 0, 1], [0, 0, 1], [0, 0, 0]]


def test_one_correct_and_one_wrong_detection_have_known_scores() -> None:
    labels = truth((1, 5, BOX), (2, 5, FAR))
    # Half of the objects are found first, then a false positive: precision 1 up to recall 0.5, then 0.
    result = score(labels, found((1, 5, BOX, 0.95), (2, 5, BOX, 0.75), (1, 5, FAR, 0.1)), "bbox", 0.25)
    assert result.metrics["AP50"] == pytest.approx(51 / 101)
    assert result.curves[0].tolist() == pytest.approx([1.0] * 51 + [0.0] * 50)
    cat = next(c for c in result.classes if c.category == "cat")
    assert (cat.n_found, cat.precision, cat.recall) == (2, 0.5, 0.5)
    assert result.calibration[9].tolist() == [1, 0.95, 1]
    assert result.calibration[7].tolist() == [1, 0.75, 0]
    assert result.calibration[1].tolist() == [1, 0.1, 0]
    assert result.calibration[:, 0].sum() == 3


def test_confusion_has_known_values() -> None:
    labels = truth((1, 5, BOX), (1, 3, FAR), (2, 5, BOX))
    # In order of ids: dog, cat, background. One cat confused with dog, one dog correct, one cat missed, one false dog.
    objects = found((1, 3, BOX, 0.9), (1, 3, FAR, 0.8), (2, 3, FAR, 0.7), (2, 5, BOX, 0.2))
    assert confusion(labels, objects, "bbox", 0.25).tolist() == [[1, 0, 0], [1, 0, 1], [1, 0, 0]]
    # A second box on the same object is a false positive.
    twice = found((1, 5, BOX, 0.9), (1, 5, BOX, 0.8))
    assert confusion(truth((1, 5, BOX)), twice, "bbox", 0.25).tolist() == [[0, 0, 0], [0, 1, 0], [0, 1, 0]]


def test_detections_in_a_crowd_are_no_false_positives() -> None:
    crowd = truth((1, 5, [0, 0, 150, 150]), crowd=True)
    assert np.count_nonzero(confusion(crowd, found((1, 5, BOX, 0.9)), "bbox", 0.25)) == 0
