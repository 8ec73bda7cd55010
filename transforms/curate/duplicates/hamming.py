"""Nearest representatives among 64-bit hashes, exact to a radius, each of them verified where that is asked for.

By the pigeonhole principle two hashes that differ in at most r bits agree in one of their four 16-bit bands up to
r // 4 bits (Manku, Jain and Das Sarma 2007, "Detecting near-duplicates for web crawling"). Representatives hang in one
bucket per band value; a query looks at its own bucket of each band, then at those one flipped bit away, and so on, and
stops as soon as nothing closer than the best it found can be left. A bucket is walked from the youngest leader back.

Verification compares layouts (`hashing.layouts`), since a hash keeps only signs: pictures of one room with
and without a person in it may have the same one. The cells of a layout lie in four quarters, which are correlated one
by one; three of them have to agree. A logo in a corner then does no harm, and brightness and contrast never did.
Leaders have the cells of each quarter at hand as a vector of length 1, so that a correlation is one product of two
vectors; what comes too close to the limit for its rounding is computed anew, in full.

Where `Verification.reach` says so, a picture that finds no leader so is looked for once more, among leaders that are
alike but for a corner: see `transforms.curate.duplicates.corner_overlay`.

A camera that never comes to rest may have hundreds of thousands of leaders that are near in hash and look otherwise.
So that its millionth frame costs no more than its ten thousandth, a query that is verified meets at most `PATIENCE`
leaders within the radius, in the order of its walk, a leader once for every bucket that both are in; then it has seen
enough and leads a group of its own, if none agreed. Below that number nothing is missed.

Compiled by numba, whose import takes half a second: import this module where it is used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from transforms.core.identity import first_equal
from transforms.curate.duplicates.corner_overlay import ALIKE, SLACK, are_alike, cross_words, nearest_but_for_a_corner
from transforms.curate.duplicates.hamming_buckets import (
    BAND_BITS,
    BANDS,
    NOT_FOUND,
    band_value,
    distance_of,
    flip_masks,
    insert_leader,
    is_first_meeting,
)
from transforms.curate.duplicates.layout_correlation import UNIT, agreements_of, agrees, to_units, units_agree
from transforms.metrics.hashing import LAYOUT_SIDE

PATIENCE = 1 << 12
"""How many leaders within the radius a query meets at most, if they are verified."""


@numba.njit(cache=True)
def _is_near(a, b, least):  # type: ignore[no-untyped-def]
    """Say whether the cosine of two vectors of length 1 is `least` or more."""
    total = np.float32(0)
    for i in range(len(a)):
        total += a[i] * b[i]
    return total >= least


@numba.njit(cache=True, inline="always")
def looks_agree(layouts, vectors, i, j, least):  # type: ignore[no-untyped-def]
    """Say whether the i-th and the j-th agree to `least` or more, by vectors or layouts, whichever is not empty."""
    if len(vectors):
        return _is_near(vectors[i], vectors[j], least)
    return len(layouts) == 0 or agrees(layouts[i], layouts[j], least)


@numba.njit(cache=True)
def make_room(hashes, same_as, n_old, old_leader, verified):  # type: ignore[no-untyped-def]
    """Lay out every band's buckets one after another, each with room for all that could become its leaders."""
    start = np.zeros((BANDS, (1 << BAND_BITS) + 1), np.int64)
    for i in range(len(hashes)):
        if (i >= n_old and (verified or same_as[i] == i)) or (i < n_old and old_leader[i] == i):
            for band in range(BANDS):
                start[band, band_value(hashes[i], band) + 1] += 1
    for band in range(BANDS):
        for value in range(1 << BAND_BITS):
            start[band, value + 1] += start[band, value]
    return start


@numba.njit(cache=True)
def _nearest(  # type: ignore[no-untyped-def] # noqa: C901 - one walk, without a call on its way
    i, own, hashes, radius, layouts, vectors, least, patience,
    leader_at, units, words, numbers, start, filled, masks, ends,
):  # fmt: skip
    """Return the number of the nearest leader, the oldest of several."""
    query = hashes[i]
    by_layout = len(layouts) > 0
    verified = by_layout or len(vectors) > 0
    best, best_distance = NOT_FOUND, radius + 1
    first, met = 0, 0
    # All that are near count as met, where they are verified; else only what is nearer than the best matters.
    limit = radius
    for flips in range(len(ends)):
        for band in range(BANDS):
            value = band_value(query, band)
            for mask in masks[first : ends[flips]]:
                begin = start[band, value ^ mask]
                for at in range(begin + filled[band, value ^ mask] - 1, begin - 1, -1):
                    found = distance_of(words[band, at], query)
                    if found > limit:
                        continue
                    if verified:
                        met += 1
                        if met > patience:
                            return best
                    if found > best_distance:
                        continue
                    number = numbers[band, at]
                    if found == best_distance and number >= best and best != NOT_FOUND:
                        continue
                    if verified and not is_first_meeting(words[band, at] ^ query, flips, band):
                        continue
                    verdict = units_agree(own, units, number, least) if by_layout else -1
                    if verdict == 1 or (verdict < 0 and looks_agree(layouts, vectors, i, leader_at[number], least)):
                        best, best_distance = number, found
                        limit = radius if verified else found
        first = ends[flips]
        # Whatever differs in no more than this many bits has been seen by now.
        if best_distance <= BANDS * (flips + 1) - 1:
            break
    return best


@numba.njit(cache=True, nogil=True)
def _join_leaders(  # type: ignore[no-untyped-def]
    hashes, predecessor, same_as, n_old, old_leader, radius, layouts, vectors, least, patience, masks, ends,
    crosses, reach,
):  # fmt: skip
    n = len(hashes)
    leader = np.empty(n, np.int64)
    start = make_room(hashes, same_as, n_old, old_leader, len(layouts) + len(vectors) > 0)
    filled = np.zeros((BANDS, 1 << BAND_BITS), np.int64)
    # The hashes lie in their buckets themselves: to walk a bucket is to read memory in order.
    most = start[0, 1 << BAND_BITS]
    words = np.empty((BANDS, most), np.uint64)
    numbers = np.empty(words.shape, np.int32)
    leader_at = np.empty(most, np.int64)
    units = np.empty((most if len(layouts) else 0, 4, UNIT), np.float32)
    own = np.empty((4, UNIT), np.float32)
    cross_start = make_room(crosses, same_as, n_old, old_leader, True) if len(crosses) else start[:0]
    cross_filled = np.zeros((BANDS if len(crosses) else 0, 1 << BAND_BITS), np.int64)
    cross_at = np.empty((BANDS, most if len(crosses) else 0), np.uint64)
    cross_numbers = np.empty(cross_at.shape, np.int32)
    n_leaders = 0
    for i in range(n):
        if i < n_old:
            leader[i] = old_leader[i]
            if leader[i] != i:
                continue
            if len(layouts):
                to_units(layouts[i], own)
        else:
            if same_as[i] != i and looks_agree(layouts, vectors, i, leader[same_as[i]], least):
                leader[i] = leader[same_as[i]]
                continue
            before = predecessor[i]
            near = before != NOT_FOUND and distance_of(hashes[leader[before]], hashes[i]) <= radius
            if near and looks_agree(layouts, vectors, i, leader[before], least):
                leader[i] = leader[before]
                continue
            if len(layouts):
                to_units(layouts[i], own)
            found = _nearest(
                i, own, hashes, radius, layouts, vectors, least, patience,
                leader_at, units, words, numbers, start, filled, masks, ends,
            )  # fmt: skip
            if found == NOT_FOUND and len(crosses):
                found = nearest_but_for_a_corner(
                    i, crosses, hashes, reach, layouts, max(least, ALIKE), patience,
                    leader_at, cross_at, cross_numbers, cross_start, cross_filled,
                )  # fmt: skip
            if found != NOT_FOUND:
                leader[i] = leader_at[found]
                continue
            leader[i] = i
        insert_leader(hashes[i], n_leaders, words, numbers, start, filled)
        if len(crosses):
            insert_leader(crosses[i], n_leaders, cross_at, cross_numbers, cross_start, cross_filled)
        leader_at[n_leaders] = i
        if len(layouts):
            units[n_leaders] = own
        n_leaders += 1
    return leader


@dataclass(frozen=True)
class Verification:
    """What has to hold besides the distance, to a degree of `least` or more, -1..1.

    `looks` are layouts, (N, 64) uint8, that agree as the module says, or vectors of length 1, (N, D) float32, of such a
    cosine. `reach`: how many bits layouts that are alike but for a corner may differ; 0 is none, and looks for none.
    """

    looks: npt.NDArray[np.uint8] | npt.NDArray[np.float32]
    least: float
    reach: int = 0


def agreements(
    layouts: npt.NDArray[np.uint8], first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """Return how well the layouts at these positions agree, shape (M,), -1..1: see the module."""
    return np.clip(agreements_of(layouts, first, second), -1, 1)


def alike_but_for_a_corner(
    layouts: npt.NDArray[np.uint8], first: npt.NDArray[np.int64], second: npt.NDArray[np.int64], least: float
) -> npt.NDArray[np.bool_]:
    """Say which layouts at these positions are alike to `corner_overlay`, shape (M,)."""
    words = cross_words(layouts)
    near = np.bitwise_count(words[first] ^ words[second]) <= SLACK
    return near & np.asarray(are_alike(layouts, first, second, max(least, ALIKE)))


def join_leaders(
    hashes: npt.NDArray[np.uint64],
    predecessor: npt.NDArray[np.int64],
    old_leader: npt.NDArray[np.int64],
    radius: int,
    verify: Verification | None = None,
    patience: int = PATIENCE,
) -> npt.NDArray[np.int64]:
    """Give every hash a leader that differs from it in at most `radius` bits, and agrees with it as `verify` asks.

    `hashes` has shape (N,); the first len(old_leader) of them have a leader already, which stays. The others are taken
    in order: each joins the leader of the first equal hash before it, else that of its `predecessor` (a position before
    its own, or -1), else the nearest leader of all (the earliest of several), else the nearest within `verify.reach`
    that is alike but for a corner, else it becomes one itself; a leader that is too far or does not agree is passed
    over. Returns positions, shape (N,); a leader's is its own. Exact: nothing within the radius is missed, unless more
    leaders than `patience` are there and look otherwise: see the module.
    """
    layouts, vectors, least = kinds(verify)
    masks, ends = flip_masks(radius)
    same_as = first_equal(hashes)
    n_old = len(old_leader)
    return _join_leaders(
        hashes, predecessor, same_as, n_old, old_leader, radius, layouts, vectors, least, patience, masks, ends,
        crosses_of(verify), verify.reach if verify else 0,
    )  # fmt: skip


def crosses_of(verify: Verification | None) -> npt.NDArray[np.uint64]:
    """Return the words that pictures alike but for a corner are found by, shape (N,), or (0,) for no `reach`."""
    layouts, _, _ = kinds(verify)
    return np.asarray(cross_words(layouts if verify and verify.reach else layouts[:0]), np.uint64)


def kinds(verify: Verification | None) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32], float]:
    """Return layouts and vectors, of which one at least is empty, and the degree to which they have to agree."""
    layouts, vectors = np.empty((0, LAYOUT_SIDE**2), np.uint8), np.empty((0, 0), np.float32)
    if verify and verify.looks.dtype == np.uint8:
        layouts = verify.looks.astype(np.uint8, copy=False)
    elif verify:
        vectors = verify.looks.astype(np.float32, copy=False)
    return layouts, vectors, verify.least if verify else 0.0
