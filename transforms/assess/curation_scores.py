"""Precision, recall, ROC and interval overlap of scores and decisions against ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Interval = tuple[int, int]
"""First and last frame number, both inclusive."""


class Agreement(NamedTuple):
    """Precision and recall of a binary decision, 0..1; NaN if nothing was predicted, or is, positive."""

    precision: float
    recall: float

    @property
    def f1(self) -> float:
        """Return the harmonic mean of both, 0 where one of them is NaN or both are 0."""
        if np.isnan(self.precision + self.recall) or self.precision + self.recall == 0:
            return 0.0
        return 2 * self.precision * self.recall / (self.precision + self.recall)


class Curve(NamedTuple):
    """A receiver operating characteristic, from (0, 0) to (1, 1), arrays of shape (M,), float64.

    At `thresholds[i]`, scores at or above it are predicted positive, which gives the true positive rate `true_rate` and
    the false positive rate `false_rate`. The first threshold is infinite.
    """

    thresholds: FloatArray
    false_rate: FloatArray
    true_rate: FloatArray


class Suggestion(NamedTuple):
    """A threshold, and its precision and recall on the ground truth from which it was chosen."""

    threshold: float
    agreement: Agreement


class IntervalAgreement(NamedTuple):
    """How well detected intervals match ground-truth intervals.

    `iou`: frames in both over frames in either. `n_found` of `n_labelled` intervals are overlapped by a detected one,
    and `boundary_error` is the mean distance, in frames, of their starts and ends to those of the one that overlaps
    most.
    """

    iou: float
    n_labelled: int
    n_found: int
    boundary_error: float


def agreement(called: BoolArray, labelled: BoolArray) -> Agreement:
    """Return precision and recall of N predictions against N ground-truth values, both (N,), bool."""
    hits = int((called & labelled).sum())
    n_called, n_labelled = int(called.sum()), int(labelled.sum())
    return Agreement(hits / n_called if n_called else np.nan, hits / n_labelled if n_labelled else np.nan)


def roc_curve(scores: FloatArray, labelled: BoolArray) -> Curve:
    """Return the ROC of N scores, high ones meaning positive. Both positives and negatives are required."""
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], labelled[order]
    # Equal scores are predicted together.
    last = np.flatnonzero(np.append(np.diff(scores) != 0, True))
    true, false = np.cumsum(hits)[last], np.cumsum(~hits)[last]
    return Curve(
        np.concatenate([[np.inf], scores[last]]),
        np.concatenate([[0.0], false / false[-1]]),
        np.concatenate([[0.0], true / true[-1]]),
    )


def roc_auc(scores: FloatArray, labelled: BoolArray) -> float:
    """Return the area under the ROC: the probability that a positive scores above a negative, ties counting half.

    NaN if there are no positives or no negatives.
    """
    if labelled.all() or not labelled.any():
        return float("nan")
    curve = roc_curve(scores, labelled)
    return float(np.trapezoid(curve.true_rate, curve.false_rate))


def best_threshold(scores: FloatArray, labelled: BoolArray) -> Suggestion:
    """Return the threshold with the highest F1, where scores above it are predicted positive.

    It is halfway between the two adjacent scores. Both positives and negatives are required.
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
    """Compare the detected intervals of a stream, which must not overlap, with the ground-truth intervals."""
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
