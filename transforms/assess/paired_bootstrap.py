"""Whether one detector is better than another: a paired bootstrap over units of images that belong together."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from transforms.assess.average_precision import RankedMatches
from transforms.assess.box_matching import CategoryMatches, Floats

Verdict = Literal["better", "not_better", "worse", "cannot_tell"]

DRAWS = 2_000
FEWEST_UNITS = 8
"""Below so many units, a bootstrap says nothing."""

_LOW, _HIGH = 5, 95
_TOLERANCE = 0.005


@dataclass(frozen=True)
class Difference:
    """A difference of AP: mean of all draws, and its 5 % and 95 % bounds; NaN where no draw had an object."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedComparison:
    """How much better one detector is than another: in all, by category, and what follows from it."""

    verdict: Verdict
    all: Difference
    categories: tuple[Difference, ...]
    units: int
    draws: int


def compare(
    ours: Sequence[CategoryMatches],
    theirs: Sequence[CategoryMatches],
    units: npt.NDArray[np.int64],
    seed: str,
    draws: int = DRAWS,
) -> PairedComparison:
    """Compare two detectors on I images, which are drawn by their units, `units` (I,), numbered from 0.

    Images of a stream or of a scene are alike: to draw them one by one would take what is one observation for many. The
    same draws are taken of both. The draws depend on `seed` alone.
    """
    n = int(units.max()) + 1 if len(units) else 0
    differences = np.full((draws, len(ours)), np.nan)
    means = np.full(draws, np.nan)
    if n >= FEWEST_UNITS:
        pairs = [(RankedMatches(mine), RankedMatches(other)) for mine, other in zip(ours, theirs, strict=True)]
        for at, weights in enumerate(_drawn(units, n, seed, draws)):
            differences[at] = [
                mine.average_precision(weights) - other.average_precision(weights) for mine, other in pairs
            ]
            known = differences[at][~np.isnan(differences[at])]
            means[at] = known.mean() if len(known) else np.nan
    overall = _difference(means)
    return PairedComparison(
        _verdict(overall), overall, tuple(_difference(differences[:, at]) for at in range(len(ours))), n, draws
    )


def _drawn(units: npt.NDArray[np.int64], n: int, seed: str, draws: int) -> Floats:
    """Return how often each image is drawn, (draws, I)."""
    random = np.random.default_rng(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big"))
    counts = random.multinomial(n, np.full(n, 1 / n), size=draws)
    return counts[:, units].astype(np.float64)


def _difference(values: Floats) -> Difference:
    known = values[~np.isnan(values)]
    if not len(known):
        return Difference(float("nan"), float("nan"), float("nan"))
    low, high = np.percentile(known, [_LOW, _HIGH])
    return Difference(float(known.mean()), float(low), float(high))


def _verdict(found: Difference) -> Verdict:
    if np.isnan(found.mean):
        return "cannot_tell"
    if found.mean > 0 and found.low > -_TOLERANCE:
        return "better"
    return "worse" if found.high < 0 else "not_better"
