"""How well scores and verdicts agree with labels: the usual figures, for scores, pairs and intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Interval = tuple[int, int]
"""First and last frame number, both included."""


class Agreement(NamedTuple):
    """Precision and recall of a verdict, 0..1; NaN where nothing was called positive, or nothing is."""

    precision: float
    recall: float

    @property
    def f1(self) -> float:
        """Return the harmonic mean of both, 0 where one of them is NaN or both are 0."""
        if np.isnan(self.precision + self.recall) or self.precision + self.recall == 0:
            return 0.0
        return 2 * self.precision * self.recall / (self.precision + self.recall)


class Curve(NamedTuple):
    """A receiver operating characteristic, from (0, 0) to (1, 1), all of shape (M,).

    At `thresholds[i]`, scores at or above it are called positive: `true_rate` of the positives and `false_rate` of the
    negatives are. The first threshold is infinite.
    """

    thresholds: FloatArray
    false_rate: FloatArray
    true_rate: FloatArray


class Suggestion(NamedTuple):
    """A threshold, and how well it does on the labels it was chosen by."""

    threshold: float
    agreement: Agreement


class IntervalAgreement(NamedTuple):
    """How found intervals lie to labelled ones.

    `iou`: frames in both over frames in either. `n_found` of `n_labelled` intervals are overlapped by a found one, and
    `boundary_error` is the mean distance of their starts and ends to those of the one that overlaps most, in frames.
    """

    iou: float
    n_labelled: int
    n_found: int
    boundary_error: float


def agreement(called: BoolArray, labelled: BoolArray) -> Agreement:
    """Return precision and recall of N calls against N labels."""
    hits = int((called & labelled).sum())
    n_called, n_labelled = int(called.sum()), int(labelled.sum())
    return Agreement(hits / n_called if n_called else np.nan, hits / n_labelled if n_labelled else np.nan)


def roc_curve(scores: FloatArray, labelled: BoolArray) -> Curve:
    """Return the curve of N scores, high ones meaning positive. There must be positives and negatives."""
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], labelled[order]
    # Equal scores are called together.
    last = np.flatnonzero(np.append(np.diff(scores) != 0, True))
    true, false = np.cumsum(hits)[last], np.cumsum(~hits)[last]
    return Curve(
        np.concatenate([[np.inf], scores[last]]),
        np.concatenate([[0.0], false / false[-1]]),
        np.concatenate([[0.0], true / true[-1]]),
    )


def roc_auc(scores: FloatArray, labelled: BoolArray) -> float:
    """Return the area under the curve: the chance that a positive scores above a negative, ties counting half.

    NaN where there are no positives or no negatives.
    """
    if labelled.all() or not labelled.any():
        return float("nan")
    curve = roc_curve(scores, labelled)
    return float(np.trapezoid(curve.true_rate, curve.false_rate))


def best_threshold(scores: FloatArray, labelled: BoolArray) -> Suggestion:
    """Return the threshold with the highest F1, scores above it being called positive.

    It lies halfway between the scores that it parts. There must be positives and negatives.
    """
    curve = roc_curve(scores, labelled)
    hits = curve.true_rate * labelled.sum()
    called = hits + curve.false_rate * (~labelled).sum()
    f1 = 2 * hits / (called + labelled.sum())
    at = int(np.argmax(f1))
    below = curve.thresholds[at + 1] if at + 1 < len(curve.thresholds) else curve.thresholds[at] - 1
    threshold = float((curve.thresholds[at] + below) / 2)
    return Suggestion(threshold, agreement(scores > threshold, labelled))


def compare_intervals(found: Sequence[Interval], labelled: Sequence[Interval]) -> IntervalAgreement:
    """Hold the intervals found in a stream, none overlapping another, against labelled ones."""
    errors: list[float] = []
    shared = 0
    for first, last in labelled:
        overlaps = [(min(last, b) - max(first, a) + 1, a, b) for a, b in found]
        shared += sum(max(0, overlap) for overlap, _, _ in overlaps)
        overlap, start, end = max(overlaps, default=(0, 0, 0))
        if overlap > 0:
            errors.append((abs(start - first) + abs(end - last)) / 2)
    either = sum(b - a + 1 for a, b in [*found, *labelled]) - shared
    return IntervalAgreement(
        shared / either if either else np.nan,
        len(labelled),
        len(errors),
        float(np.mean(errors)) if errors else np.nan,
    )
