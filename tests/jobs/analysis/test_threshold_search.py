from __future__ import annotations

import numpy as np

from jobs.analysis.threshold_search import suggest_duplicates
from transforms.curate.duplicates.grouping import DuplicateParams

TRUTH = np.array([True, True, True, False, False])


def test_the_radius_just_covers_the_labelled_pairs() -> None:
    (radius,) = suggest_duplicates(np.array([0, 4, 12, 14, 30]), None, None, TRUTH, DuplicateParams(verify="none"))
    assert (radius["configured"], radius["suggested"]) == (10, 12)
    assert (radius["recall"], radius["suggested_precision"], radius["suggested_recall"]) == (2 / 3, 1.0, 1.0)


def test_the_suggested_agreement_is_between_the_two_classes() -> None:
    distance, agreement = np.array([0, 2, 2, 2, 2]), np.array([1.0, 0.9, 0.8, 0.7, 0.4], np.float32)
    radius, least = suggest_duplicates(distance, agreement, None, TRUTH, DuplicateParams())
    assert radius["suggested"] == 10
    assert (least["suggested"], least["suggested_recall"], least["suggested_precision"]) == (0.75, 1.0, 1.0)
    assert least["recall"] == 1 / 3


def test_labels_of_one_kind_suggest_nothing() -> None:
    assert suggest_duplicates(np.array([1, 2]), None, None, np.array([True, True]), DuplicateParams()) == []


def test_pairs_with_a_corner_logo_need_two_fifths_of_their_distance() -> None:
    marked = np.array([False, False, True, False, False])
    distance, agreement = np.array([0, 2, 30, 14, 31]), np.ones(5, np.float32)
    radius, _ = suggest_duplicates(distance, agreement, marked, TRUTH, DuplicateParams())
    assert (radius["suggested"], radius["recall"], radius["suggested_recall"]) == (12, 2 / 3, 1.0)
