"""Comparisons of detectors: better, worse, no difference to be seen, and too few units to tell."""

from __future__ import annotations

import numpy as np
import pytest

from transforms.assess.box_matching import CategoryMatches, FoundBoxes, LabelledBoxes, matches
from transforms.assess.paired_bootstrap import FEWEST_UNITS, compare

_BOX = np.array([[10.0, 10, 60, 60]])
_NONE = FoundBoxes(np.empty((0, 4)), np.empty(0), np.empty(0, np.int64))


def _finder(n: int, finds: float, seed: int) -> list[CategoryMatches]:
    """Return the matches of a detector that finds this share of the objects, one on each of `n` images."""
    rng = np.random.default_rng(seed)
    truth = [LabelledBoxes(_BOX, np.zeros(1, np.int64), np.zeros(1, np.bool_))] * n
    one = FoundBoxes(_BOX, np.array([0.9]), np.zeros(1, np.int64))
    return matches(truth, [one if hit else _NONE for hit in rng.random(n) < finds], 1)


def test_a_better_one_is_seen_and_its_opposite() -> None:
    """Nine of ten found against half."""
    good, bad, units = _finder(200, 0.9, 1), _finder(200, 0.5, 2), np.arange(200) // 5
    found = compare(good, bad, units, "x", 200)
    assert (found.verdict, found.units) == ("better", 40)
    assert 0.25 < found.all.low < found.all.mean < found.all.high < 0.55
    assert compare(bad, good, units, "x", 200).verdict == "worse"


def test_the_same_detector_is_not_better_than_itself() -> None:
    """No difference in any draw."""
    one, units = _finder(80, 0.7, 3), np.arange(80) // 4
    found = compare(one, one, units, "x", 100)
    assert found.verdict == "not_better"
    assert (found.all.mean, found.all.low, found.all.high) == (0, 0, 0)


def test_too_few_units_cannot_tell() -> None:
    """However many images they have."""
    good, bad = _finder(700, 0.9, 1), _finder(700, 0.1, 2)
    found = compare(good, bad, np.arange(700) % (FEWEST_UNITS - 1), "x", 50)
    assert found.verdict == "cannot_tell"
    assert np.isnan(found.all.mean)


def test_draws_depend_on_the_seed_alone() -> None:
    """To the bit."""
    good, bad, units = _finder(60, 0.8, 1), _finder(60, 0.6, 2), np.arange(60) // 3
    assert compare(good, bad, units, "a", 50) == compare(good, bad, units, "a", 50)
    assert compare(good, bad, units, "a", 50).all.mean != pytest.approx(compare(good, bad, units, "b", 50).all.mean)


def test_units_that_vary_together_widen_the_bounds() -> None:
    """Images of one unit are alike: drawing them one by one would promise too much."""
    rng = np.random.default_rng(5)
    units = np.repeat(np.arange(20), 20)
    hit = (rng.random(20) < 0.7)[units]
    truth = [LabelledBoxes(_BOX, np.zeros(1, np.int64), np.zeros(1, np.bool_))] * len(units)
    one = FoundBoxes(_BOX, np.array([0.9]), np.zeros(1, np.int64))
    ours = matches(truth, [one if each else _NONE for each in hit], 1)
    theirs = matches(truth, [_NONE] * len(units), 1)
    by_unit = compare(ours, theirs, units, "x", 300).all
    by_image = compare(ours, theirs, np.arange(len(units)), "x", 300).all
    assert by_unit.high - by_unit.low > 2 * (by_image.high - by_image.low)
