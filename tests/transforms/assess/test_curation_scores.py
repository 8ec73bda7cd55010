from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.assess.curation_scores import agreement, best_threshold, compare_intervals, roc_auc, roc_curve


def flags(text: str) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.array([c == "x" for c in text])


def test_agreement_has_known_values() -> None:
    assert agreement(flags("xxx.."), flags("xx.x.")) == (2 / 3, 2 / 3)
    assert agreement(flags("xxx.."), flags("xx.x.")).f1 == pytest.approx(2 / 3)
    nothing = agreement(flags("..."), flags("x.."))
    assert math.isnan(nothing.precision)
    assert (nothing.recall, nothing.f1) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("scores", "labels", "auc"),
    [
        ([1, 2, 3, 4], "..xx", 1.0),
        ([4, 3, 2, 1], "..xx", 0.0),
        ([1, 1, 1, 1], "x.x.", 0.5),
        ([1, 2, 2, 3], ".x.x", 0.875),
    ],
)
def test_area_has_known_values(scores: list[float], labels: str, auc: float) -> None:
    assert roc_auc(np.array(scores, np.float64), flags(labels)) == auc


def test_area_of_a_single_class_is_nan() -> None:
    assert math.isnan(roc_auc(np.array([1.0, 2.0]), flags("xx")))


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=40))
def test_area_is_the_probability_of_the_right_order(pairs: list[tuple[int, bool]]) -> None:
    scores, labels = np.array([p[0] for p in pairs], np.float64), np.array([p[1] for p in pairs])
    if labels.all() or not labels.any():
        return
    wins = [(a > b) + 0.5 * (a == b) for a in scores[labels] for b in scores[~labels]]
    assert roc_auc(scores, labels) == pytest.approx(np.mean(wins))


def test_curves_run_from_corner_to_corner() -> None:
    curve = roc_curve(np.array([1.0, 2.0, 2.0, 5.0]), flags(".x.x"))
    assert curve.thresholds.tolist() == [np.inf, 5.0, 2.0, 1.0]
    assert curve.true_rate.tolist() == [0.0, 0.5, 1.0, 1.0]
    assert curve.false_rate.tolist() == [0.0, 0.0, 0.5, 1.0]


def test_the_best_threshold_is_between_adjacent_scores() -> None:
    found = best_threshold(np.array([1.0, 2.0, 6.0, 9.0]), flags("..xx"))
    assert found == (4.0, (1.0, 1.0))
    # Recalling every positive is not worth predicting all negatives.
    found = best_threshold(np.array([1.0, 2.0, 3.0, 6.0, 9.0]), flags("x..xx"))
    assert found.threshold == 4.5
    assert found.agreement == (1.0, 2 / 3)


def test_intervals_have_known_scores() -> None:
    exact = compare_intervals([(10, 19)], [(10, 19)])
    assert exact == (1.0, 1, 1, 0.0)
    late = compare_intervals([(15, 24)], [(10, 19)])
    assert (late.iou, late.boundary_error) == (5 / 15, 5.0)
    missed = compare_intervals([(0, 4)], [(10, 19), (0, 4)])
    assert (missed.iou, missed.n_labelled, missed.n_found, missed.boundary_error) == (5 / 15, 2, 1, 0.0)
    assert math.isnan(compare_intervals([], []).iou)
    assert compare_intervals([(0, 9)], []).iou == 0.0
