"""Detection scores against ground truth: COCO metrics by pycocotools, confusion matrix, calibration."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
"""COCO's twelve metrics, in the order of its table: https://cocodataset.org/#detection-eval."""

BINS = 10
_IOU = 0.5
_OF_ALL_SIZES, _AT_MOST_100 = 0, 2


@dataclass(frozen=True)
class ClassScores:
    """The scores of one category; precision and recall are those at the score threshold."""

    category: str
    n_truth: int
    n_found: int
    AP: float
    AP50: float
    precision: float
    recall: float


@dataclass(frozen=True)
class Scores:
    """Scores of detected objects against ground truth; NaN where undefined.

    `curves`: precision at the recalls `recalls`, mean of the categories, at overlaps of 0.5 and 0.75, each (101,).
    `confusion`: ground-truth categories and background in rows, detected ones and background in columns, shape (K + 1,
    K + 1), of objects at or above the score threshold that overlap by at least half. `calibration`: for ten equal
    ranges of the score, the number of objects, their mean score, and the share that is correct, (10, 3).
    """

    metrics: dict[str, float]
    classes: list[ClassScores]
    recalls: FloatArray
    curves: FloatArray
    confusion: npt.NDArray[np.int64]
    calibration: FloatArray


def score(
    truth: Mapping[str, Any], found: Sequence[Mapping[str, Any]], kind: Literal["bbox", "segm"], min_score: float
) -> Scores:
    """Compare COCO results with a COCO document whose annotations have `id` (from 1), `area` and `iscrowd`.

    `min_score` applies to precision, recall and confusion; COCO's own metrics use all detections, the 100 of the
    highest scores of each image.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        labelled = COCO()
        labelled.dataset = {"info": {}, **truth}
        labelled.createIndex()
        # pycocotools refuses an empty list, and modifies the rows, so that it gets copies.
        results = labelled.loadRes([dict(row) for row in found]) if found else _nothing(labelled)
        evaluation = COCOeval(labelled, results, kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = evaluation.eval["precision"]
    matched = _matches(evaluation)
    names = {c["id"]: c["name"] for c in truth["categories"]}
    classes = [
        _class_scores(names[category], at, precision, matched[category], min_score)
        for at, category in enumerate(evaluation.params.catIds)
    ]
    return Scores(
        dict(zip(METRICS, (_known(v) for v in evaluation.stats), strict=True)),
        classes,
        np.asarray(evaluation.params.recThrs),
        np.stack([_mean_curve(precision[at]) for at in (0, 5)]),
        confusion(truth, found, kind, min_score),
        _calibration(matched.values()),
    )


def _nothing(labelled: Any) -> Any:
    from pycocotools.coco import COCO

    empty = COCO()
    empty.dataset = {"images": labelled.dataset["images"], "categories": labelled.dataset["categories"]}
    empty.dataset["annotations"] = []
    empty.createIndex()
    return empty


def _known(value: float) -> float:
    """Return NaN for COCO's -1, which means that there is nothing to score."""
    return float(value) if value >= 0 else float("nan")


@dataclass(frozen=True)
class _Matched:
    """The detections of a category: scores and whether each is correct, and the number of ground-truth objects."""

    scores: FloatArray
    right: npt.NDArray[np.bool_]
    n_truth: int


def _matches(evaluation: Any) -> dict[Any, _Matched]:
    """Return the detections of each category, over objects of all sizes, at an overlap of 0.5."""
    per: dict[Any, list[Mapping[str, Any]]] = {category: [] for category in evaluation.params.catIds}
    whole = evaluation.params.areaRng[_OF_ALL_SIZES]
    for image in evaluation.evalImgs:
        if image is not None and image["aRng"] == whole:
            per[image["category_id"]].append(image)
    matched = {}
    for category, images in per.items():
        counted = [~np.asarray(i["dtIgnore"][0], np.bool_) for i in images]
        scores = [np.asarray(i["dtScores"], np.float64)[c] for i, c in zip(images, counted, strict=True)]
        right = [(np.asarray(i["dtMatches"][0]) > 0)[c] for i, c in zip(images, counted, strict=True)]
        n_truth = sum(int((~np.asarray(i["gtIgnore"], np.bool_)).sum()) for i in images)
        matched[category] = _Matched(
            np.concatenate([*scores, np.empty(0)]), np.concatenate([*right, np.empty(0, np.bool_)]), n_truth
        )
    return matched


def _class_scores(name: str, at: int, precision: Any, matched: _Matched, min_score: float) -> ClassScores:
    own = precision[:, :, at, _OF_ALL_SIZES, _AT_MOST_100]
    sure = matched.scores >= min_score
    n_right = int(matched.right[sure].sum())
    return ClassScores(
        name,
        matched.n_truth,
        int(sure.sum()),
        _mean_of_known(own),
        _mean_of_known(own[0]),
        n_right / int(sure.sum()) if sure.any() else float("nan"),
        n_right / matched.n_truth if matched.n_truth else float("nan"),
    )


def _mean_of_known(values: Any) -> float:
    known = values[values > -1]
    return float(known.mean()) if known.size else float("nan")


def _mean_curve(precision: Any) -> FloatArray:
    """Return the mean over the categories with objects of (R, K, areas, max detections) precisions, shape (R,)."""
    own = precision[:, :, _OF_ALL_SIZES, _AT_MOST_100]
    own = own[:, (own > -1).all(axis=0)]
    return own.mean(axis=1) if own.shape[1] else np.full(len(own), np.nan)


def _calibration(matched: Any) -> FloatArray:
    scores = np.concatenate([np.empty(0), *(m.scores for m in matched)])
    right = np.concatenate([np.empty(0), *(m.right for m in matched)])
    place = np.clip((scores * BINS).astype(np.int64), 0, BINS - 1)
    n = np.bincount(place, minlength=BINS)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(place, values, minlength=BINS) / n for values in (scores, right)]
    return np.stack([n.astype(np.float64), *means], axis=1)


def confusion(
    truth: Mapping[str, Any], found: Sequence[Mapping[str, Any]], kind: Literal["bbox", "segm"], min_score: float
) -> npt.NDArray[np.int64]:
    """Return the confusion matrix of categories, shape (K + 1, K + 1), int64; the last row and column are background.

    Rows are ground truth, columns detections. In each image, by descending score, a detection is matched to the free
    ground-truth object of any category that it overlaps most, if by at least half. Crowds are not counted, and
    detections inside them are no false positives.
    """
    from pycocotools import mask as masks

    categories = {c["id"]: at for at, c in enumerate(sorted(truth["categories"], key=lambda c: c["id"]))}
    nothing = len(categories)
    table = np.zeros((nothing + 1, nothing + 1), np.int64)
    labelled, seen = _by_image(truth["annotations"]), _by_image(r for r in found if r["score"] >= min_score)
    for image in truth["images"]:
        mine = sorted(seen.get(image["id"], ()), key=lambda r: -r["score"])
        theirs = labelled.get(image["id"], [])
        crowds = [bool(r.get("iscrowd")) for r in theirs]
        shapes = [[_shape(r, kind, image) for r in rows] for rows in (mine, theirs)]
        overlap = np.asarray(masks.iou(*shapes, crowds)) if mine and theirs else np.zeros((len(mine), len(theirs)))
        free = ~np.array(crowds, np.bool_)
        for at, row in enumerate(mine):
            best = int(np.argmax(np.where(free, overlap[at], -1))) if free.any() else -1
            if best >= 0 and overlap[at, best] >= _IOU:
                free[best] = False
                table[categories[theirs[best]["category_id"]], categories[row["category_id"]]] += 1
            elif not any(overlap[at, i] >= _IOU for i, crowd in enumerate(crowds) if crowd):
                table[nothing, categories[row["category_id"]]] += 1
        for at in np.flatnonzero(free).tolist():
            table[categories[theirs[at]["category_id"]], nothing] += 1
    return table


def _by_image(rows: Any) -> dict[Any, list[Mapping[str, Any]]]:
    per: dict[Any, list[Mapping[str, Any]]] = {}
    for row in rows:
        per.setdefault(row["image_id"], []).append(row)
    return per


def _shape(row: Mapping[str, Any], kind: str, image: Mapping[str, Any]) -> Any:
    """Return a box, or a mask as run lengths, as `pycocotools.mask.iou` takes them."""
    from pycocotools import mask as masks

    if kind == "bbox":
        return row["bbox"]
    mask = row["segmentation"]
    if isinstance(mask, list):
        return masks.merge(masks.frPyObjects(mask, image["height"], image["width"]))
    if isinstance(mask["counts"], list):
        return masks.frPyObjects(mask, image["height"], image["width"])
    return mask
