"""Figures of what a model found on labelled frames: of all, by category, stream and hour; thresholds and errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from jobs.core.plain_values import finite
from jobs.evaluation.test_side import TestSide
from transforms.assess.average_precision import PrecisionRecall, coco_figures, curve
from transforms.assess.box_matching import CategoryMatches, FoundBoxes, LabelledBoxes, matches, overlaps

_ALL, _AT_50 = 0, 0
_BINS = 10
_PRECISION = 0.9

Figure = tuple[str, str, str, float]
"""A part (`all`, `category`, `stream`, `hour`), which one of them, the name of the figure, and its value."""


@dataclass(frozen=True)
class FrameErrors:
    """Objects found, boxes that are none, and objects missed on each of I frames, (I,) each."""

    correct: npt.NDArray[np.int64]
    wrong: npt.NDArray[np.int64]
    missed: npt.NDArray[np.int64]


@dataclass(frozen=True)
class ModelFigures:
    """The figures of a model on a test side; `min_score` is that of the best F1 of all categories together."""

    figures: list[Figure]
    min_score: float
    report: Mapping[str, Any]
    errors: FrameErrors
    matches: Sequence[CategoryMatches]

    def value(self, name: str) -> float:
        """Return a figure of all frames."""
        return next(value for part, _, known, value in self.figures if (part, known) == ("all", name))


def figures_of(side: TestSide, found: Sequence[FoundBoxes]) -> ModelFigures:
    """Return the figures of boxes found on each image of a test side, with labels as the side numbers them."""
    truth = side.truth()
    matched = matches(truth, found, len(side.classes))
    overall = curve(matched)
    best = _best_f1(overall)
    min_score = best["score"] if best else 0.5
    thresholds = {"": _thresholds(overall)} | {
        name: _thresholds(curve([match])) for name, match in zip(side.classes, matched, strict=True)
    }
    bins, error = _calibration(matched)
    report = {
        "calibration": bins,
        "calibration_error": error,
        "thresholds": thresholds,
        "confusion": {"categories": list(side.classes), "rows": _confusion(truth, found, side.classes, min_score)},
    }
    figures = list(_figures(side, matched, thresholds, min_score))
    return ModelFigures(figures, min_score, finite(report), _errors(matched, min_score, len(side.images)), matched)


def _figures(
    side: TestSide, matched: Sequence[CategoryMatches], thresholds: Mapping[str, Any], min_score: float
) -> Iterator[Figure]:
    yield from _of_part("all", "", matched, None)
    yield from _at("all", "", matched, min_score)
    for name, match in zip(side.classes, matched, strict=True):
        yield from _of_part("category", name, [match], None)
        yield from _at("category", name, [match], min_score)
        best = thresholds[name]["best_f1"]
        yield "category", name, "threshold", best["score"] if best else float("nan")
    streams = np.array([image.stream_id for image in side.images])
    for stream in sorted(set(streams.tolist())):
        yield from _of_part("stream", stream, matched, (streams == stream).astype(np.float64))
    hours = np.array([-1 if hour is None else hour for hour in side.hours])
    for hour in sorted({int(each) for each in hours if each >= 0}):
        yield from _of_part("hour", f"{hour:02}", matched, (hours == hour).astype(np.float64))


def _of_part(
    part: str, of: str, matched: Sequence[CategoryMatches], weights: npt.NDArray[np.float64] | None
) -> Iterator[Figure]:
    for name, value in coco_figures(matched, weights).items():
        yield part, of, name, value
    objects = [match.objects[_ALL] for match in matched]
    yield part, of, "objects", float(sum(each.sum() if weights is None else each @ weights for each in objects))
    yield part, of, "frames", float(len(objects[0]) if weights is None else weights.sum())


def _at(part: str, of: str, matched: Sequence[CategoryMatches], min_score: float) -> Iterator[Figure]:
    """Yield precision and recall from a score on."""
    sure = [(match.scores >= min_score) & ~match.ignored[_ALL, _AT_50] for match in matched]
    right = sum(int((match.right[_ALL, _AT_50] & each).sum()) for match, each in zip(matched, sure, strict=True))
    n, objects = sum(int(each.sum()) for each in sure), sum(int(match.objects[_ALL].sum()) for match in matched)
    yield part, of, "precision", right / n if n else float("nan")
    yield part, of, "recall", right / objects if objects else float("nan")


def _best_f1(line: PrecisionRecall) -> dict[str, float] | None:
    both = line.precision + line.recall
    if not len(both) or not both.any():
        return None
    f1 = np.divide(2 * line.precision * line.recall, both, out=np.zeros_like(both), where=both > 0)
    return _point(line, int(f1.argmax())) | {"f1": float(f1.max())}


def _point(line: PrecisionRecall, at: int) -> dict[str, float]:
    return {
        "score": float(line.scores[at]),
        "precision": float(line.precision[at]),
        "recall": float(line.recall[at]),
    }


def _thresholds(line: PrecisionRecall) -> dict[str, Any]:
    """Return the score of the best F1, and the one of the highest recall at a precision of 0.9; None for none."""
    sure = np.flatnonzero(line.precision >= _PRECISION)
    return {"best_f1": _best_f1(line), "at_precision_90": _point(line, int(sure[-1])) if len(sure) else None}


def _calibration(matched: Sequence[CategoryMatches]) -> tuple[list[dict[str, float]], float]:
    """Return for ten equal ranges of the score boxes, mean score and share that is right; and the expected error.

    Expected calibration error as in Guo et al. 2017 (https://arxiv.org/abs/1706.04599), over the boxes that count.
    """
    counted = [~match.ignored[_ALL, _AT_50] for match in matched]
    scores = np.concatenate([np.empty(0), *(m.scores[c] for m, c in zip(matched, counted, strict=True))])
    right = np.concatenate([np.empty(0), *(m.right[_ALL, _AT_50][c] for m, c in zip(matched, counted, strict=True))])
    place = np.clip((scores * _BINS).astype(np.int64), 0, _BINS - 1)
    bins, error = [], 0.0
    for at in range(_BINS):
        mine = place == at
        n = int(mine.sum())
        score, share = (float(values[mine].mean()) if n else float("nan") for values in (scores, right))
        bins.append({"n": n, "score": score, "precision": share})
        error += abs(score - share) * n / len(scores) if n else 0
    return bins, error if len(scores) else float("nan")


def _errors(matched: Sequence[CategoryMatches], min_score: float, n: int) -> FrameErrors:
    correct, wrong = np.zeros(n, np.int64), np.zeros(n, np.int64)
    for match in matched:
        sure = (match.scores >= min_score) & ~match.ignored[_ALL, _AT_50]
        hit = match.right[_ALL, _AT_50]
        correct += np.bincount(match.image[sure & hit], minlength=n)
        wrong += np.bincount(match.image[sure & ~hit], minlength=n)
    objects = sum((match.objects[_ALL] for match in matched), np.zeros(n, np.int64))
    return FrameErrors(correct, wrong, objects - correct)


def _confusion(
    truth: Sequence[LabelledBoxes], found: Sequence[FoundBoxes], classes: Sequence[str], min_score: float
) -> list[list[int]]:
    """Return how often each category, in rows, was found as each, in columns; the last of both is the background.

    In each image, by descending score, a box takes the free object of any category that it overlaps most, if by half.
    """
    nothing = len(classes)
    table = np.zeros((nothing + 1, nothing + 1), np.int64)
    for theirs, mine in zip(truth, found, strict=True):
        order = np.argsort(-mine.scores, kind="stable")
        order = order[mine.scores[order] >= min_score]
        shared = overlaps(mine.boxes[order], theirs.boxes, theirs.crowd)
        free = ~theirs.crowd
        for at, label in enumerate(mine.labels[order]):
            open_ = np.where(free, shared[at], -1)
            best = int(open_.argmax()) if len(open_) else -1
            if best >= 0 and open_[best] >= 0.5:
                free[best] = False
                table[theirs.labels[best], label] += 1
            elif not (shared[at][theirs.crowd] >= 0.5).any():
                table[nothing, label] += 1
        for label in theirs.labels[free]:
            table[label, nothing] += 1
    return table.tolist()
