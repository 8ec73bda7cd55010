"""Sampling of frames: uniform, stratified, diverse (farthest point), coverage (facility location)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transforms.core.identity import mix
from transforms.curate.strategy import Strategy
from transforms.metrics.hashing import FLAT

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float32]
Int64Array = npt.NDArray[np.int64]


_ROWS_AT_ONCE = 1 << 10
_MOST_STOOD_FOR = 20_000
_MISS = 0.1
"""Probability that the best candidate of a step of `coverage` is not among those that are evaluated."""


@dataclass(frozen=True)
class Candidates:
    """N frames to choose from, in order of stream and number.

    `stratum`: number of each frame's stratum, int64, shape (N,). `group`: number of its duplicate group, shape (N,).
    `worth`: the frame's own score, 0..1, shape (N,). `taken`: whether it was chosen before, shape (N,). `features`: its
    appearance as unit vectors, shape (N, D), float32.
    """

    stratum: Int64Array
    group: Int64Array
    worth: FloatArray
    taken: BoolArray
    features: FloatArray


@dataclass(frozen=True)
class Choice:
    """The chosen frames in the order of choice, as positions, and their scores, both of shape (K,).

    `value`: with `diverse` the distance to the nearest frame chosen before, 0..2; with `coverage` the decrease of the
    mean distance of all frames to the nearest chosen one, 0..2; else the frame's worth.
    """

    at: Int64Array
    value: FloatArray


def choose(candidates: Candidates, n: int, strategy: Strategy, seed: int = 0) -> Choice:
    """Choose up to `n` frames, at most one of each duplicate group, and none of a group with a frame in `taken`.

    Every stratum gets the same number of frames, those in `taken` included; what a small stratum cannot fill is spread
    over the others. `uniform`: equally spaced in order. `stratified`: the frame of the highest worth of each of equally
    long parts. `diverse`: repeatedly the frame farthest from all chosen ones (Gonzalez 1985, "Clustering to minimize
    the maximum intercluster distance"), by distance times worth. `coverage`: repeatedly the frame that most decreases
    the mean distance of all frames to the chosen ones (facility location, by the stochastic greedy method of
    Mirzasoleiman et al. 2015, "Lazier than lazy greedy", evaluated on at most 20,000 frames), again times worth. Equal
    input gives equal output; `seed` affects only what is random.
    """
    open_ = _one_per_group(candidates)
    quota = _quotas(candidates, open_, n)
    if strategy == "uniform":
        at = _evenly(candidates, open_, quota)
    elif strategy == "stratified":
        at = _best_of_stretches(candidates, open_, quota)
    elif strategy == "diverse":
        return _farthest(candidates, open_, quota)
    else:
        return _covering(candidates, open_, quota, seed)
    return Choice(at, candidates.worth[at])


def _one_per_group(candidates: Candidates) -> Int64Array:
    """Return the positions of the frame of the highest worth of each group without a taken frame, in order."""
    order = np.lexsort((np.arange(len(candidates.group)), -candidates.worth, candidates.group))
    groups = candidates.group[order]
    first = order[np.concatenate([[True], groups[1:] != groups[:-1]])] if len(order) else order
    taken = np.isin(candidates.group[first], candidates.group[candidates.taken])
    return np.sort(first[~taken])


def _quotas(candidates: Candidates, open_: Int64Array, n: int) -> Int64Array:
    """Return how many frames to choose from each stratum, filling the emptiest ones first."""
    n_strata = int(candidates.stratum.max(initial=-1)) + 1
    have = np.bincount(candidates.stratum[candidates.taken], minlength=n_strata)
    free = np.bincount(candidates.stratum[open_], minlength=n_strata)
    left = min(n, int(free.sum()))
    low, high = 0, int((have + free).max(initial=0))
    while low < high:
        level = (low + high + 1) // 2
        if np.clip(level - have, 0, free).sum() <= left:
            low = level
        else:
            high = level - 1
    quota = np.clip(low - have, 0, free)
    # The remainder is less than one per stratum: it goes to equally spaced strata, not to the first ones.
    open_strata = np.flatnonzero((quota < free) & (have + quota <= low))
    n_more = left - int(quota.sum())
    quota[open_strata[((np.arange(n_more) + 0.5) * len(open_strata) / max(1, n_more)).astype(np.int64)]] += 1
    return quota


def _members(candidates: Candidates, open_: Int64Array, quota: Int64Array) -> list[tuple[Int64Array, int]]:
    """Return the open frames of every stratum, in order, and how many of them to choose."""
    order = open_[np.argsort(candidates.stratum[open_], kind="stable")]
    bounds = np.searchsorted(candidates.stratum[order], np.arange(len(quota) + 1))
    return [(order[bounds[s] : bounds[s + 1]], int(quota[s])) for s in np.flatnonzero(quota)]


def _evenly(candidates: Candidates, open_: Int64Array, quota: Int64Array) -> Int64Array:
    chosen = [
        frames[((np.arange(count) + 0.5) * len(frames) / count).astype(np.int64)]
        for frames, count in _members(candidates, open_, quota)
    ]
    return np.sort(np.concatenate([np.empty(0, np.int64), *chosen]))


def _best_of_stretches(candidates: Candidates, open_: Int64Array, quota: Int64Array) -> Int64Array:
    chosen = []
    for frames, count in _members(candidates, open_, quota):
        stretch = np.arange(len(frames)) * count // len(frames)
        order = np.lexsort((frames, -candidates.worth[frames], stretch))
        first = np.searchsorted(stretch[order], np.arange(count))
        chosen.append(frames[order[first]])
    return np.sort(np.concatenate([np.empty(0, np.int64), *chosen]))


def _farthest(candidates: Candidates, open_: Int64Array, quota: Int64Array) -> Choice:
    features, worth = candidates.features[open_], candidates.worth[open_]
    stratum = candidates.stratum[open_]
    left = quota.copy()
    total = int(quota.sum())
    nearest = _distance_to_taken(features, candidates.features[candidates.taken])
    begun = bool(candidates.taken.any())
    free = np.ones(len(open_), np.bool_)
    at, value = np.empty(total, np.int64), np.empty(total, np.float32)
    for step in range(total):
        allowed = free & (left[stratum] > 0)
        # Without any chosen frame, there is no distance: the frame of the highest worth comes first.
        score = np.where(allowed, nearest * worth if begun or step else worth, -1)
        best = int(np.argmax(score))
        at[step], value[step] = best, min(float(nearest[best]), 2.0)
        free[best] = False
        left[stratum[best]] -= 1
        np.minimum(nearest, 1 - features @ features[best], out=nearest)
    return Choice(open_[at], np.maximum(value, 0))


def _distance_to_taken(features: FloatArray, taken: FloatArray) -> FloatArray:
    """Return the cosine distance of each row to the nearest row of `taken`, 2 if there is none, shape (N,), float32."""
    nearest = np.full(len(features), 2, np.float32)
    for first in range(0, len(taken), _ROWS_AT_ONCE):
        part = taken[first : first + _ROWS_AT_ONCE]
        for row in range(0, len(features), _ROWS_AT_ONCE):
            rows = slice(row, row + _ROWS_AT_ONCE)
            np.minimum(nearest[rows], (1 - features[rows] @ part.T).min(axis=1), out=nearest[rows])
    return nearest


def _covering(candidates: Candidates, open_: Int64Array, quota: Int64Array, seed: int) -> Choice:
    total = int(quota.sum())
    stratum, worth = candidates.stratum[open_], candidates.worth[open_]
    chance = mix(open_.view(np.uint64) ^ mix(np.array([seed], np.uint64)))
    stood_for = np.sort(np.argsort(chance, kind="stable")[:_MOST_STOOD_FOR])
    ground = candidates.features[open_[stood_for]]
    nearest = _distance_to_taken(ground, candidates.features[candidates.taken])
    left = quota.copy()
    free = np.ones(len(open_), np.bool_)
    n_drawn = max(1, int(np.ceil(len(open_) / max(1, total) * -np.log(_MISS))))
    # Drawing without replacement in rounds is equivalent to independent draws here, and sorts only once.
    drawn, next_ = np.argsort(mix(chance), kind="stable"), 0
    at, value = np.empty(total, np.int64), np.empty(total, np.float32)
    for step in range(total):
        allowed = free & (left[stratum] > 0)
        some = np.empty(0, np.int64)
        while not len(some):
            part = drawn[next_ : next_ + n_drawn]
            next_ = next_ + n_drawn if next_ + n_drawn < len(drawn) else 0
            some = np.sort(part[allowed[part]])
        gain = np.concatenate(
            [
                np.maximum(nearest[:, None] - (1 - ground @ candidates.features[open_[part]].T), 0).mean(axis=0)
                for part in np.array_split(some, max(1, len(some) // 256))
            ]
        )
        best = int(some[np.argmax(gain * worth[some])])
        at[step], value[step] = best, gain[np.searchsorted(some, best)]
        free[best] = False
        left[stratum[best]] -= 1
        np.minimum(nearest, 1 - ground @ candidates.features[open_[best]], out=nearest)
    return Choice(open_[at], value)


def layout_vectors(layouts: npt.NDArray[np.uint8]) -> FloatArray:
    """Return the appearance of frames as unit vectors, shape (N, 65), float32, from their layouts, (N, 64) uint8.

    The vector has the cells less their mean, and a constant that makes flat images similar: the cosine similarity is
    then the correlation of two layouts.
    """
    cells = layouts.astype(np.float32)
    cells -= cells.mean(axis=1, keepdims=True)
    flat = np.full((len(cells), 1), np.sqrt(FLAT * cells.shape[1]), np.float32)
    vectors = np.concatenate([cells, flat], axis=1)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
