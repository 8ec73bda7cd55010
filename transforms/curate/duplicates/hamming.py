"""Nearest-representative search among 64-bit hashes: exact within a Hamming radius, with optional verification.

By the pigeonhole principle two hashes that differ in at most r bits agree in one of their four 16-bit bands up to
r // 4 bits (Manku, Jain and Das Sarma 2007, "Detecting near-duplicates for web crawling"). Representatives ("leaders")
are indexed in one bucket per band value; a query searches its own bucket of each band, then those one flipped bit away,
and so on, and stops once no closer leader than the best so far can remain. A bucket is scanned from newest to oldest.

Verification compares layouts (`hashing.layouts`), because a hash keeps only signs: images of one room with and
without a person in it may have the same hash. The four quarters of a layout are correlated separately, and three of
them have to agree. This tolerates a logo in one corner, and is invariant to brightness and contrast. The quarters of
leaders are cached as unit vectors, so that a correlation is one dot product; results within rounding error of the
threshold are recomputed exactly.

If `Verification.reach` is positive, an image without such a leader is searched for a second time, among leaders that
are alike but for a corner: see `transforms.curate.duplicates.corner_overlay`.

A camera in constant motion may have hundreds of thousands of leaders that are near in hash and fail the verification.
To bound the cost of a query, a verified search visits at most `PATIENCE` leaders within the radius, in search order,
counting a leader once per bucket shared with the query. If none of these agrees, the query becomes a leader. Below that
number the search is exact.

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
"""Maximum number of leaders within the radius that a verified query visits."""


@numba.njit(cache=True)
def _is_near(a, b, least):  # type: ignore[no-untyped-def]
    """Return whether the cosine of two unit vectors, (D,) float32, is `least` or more."""
    total = np.float32(0)
    for i in range(len(a)):
        total += a[i] * b[i]
    return total >= least


@numba.njit(cache=True, inline="always")
def looks_agree(layouts, vectors, i, j, least):  # type: ignore[no-untyped-def]
    """Return whether i and j agree by `least` or more, in vectors or layouts, whichever is not empty."""
    if len(vectors):
        return _is_near(vectors[i], vectors[j], least)
    return len(layouts) == 0 or agrees(layouts[i], layouts[j], least)


@numba.njit(cache=True)
def make_room(hashes, same_as, n_old, old_leader, verified):  # type: ignore[no-untyped-def]
    """Return the start of every bucket, (4, 65537) int64, with space for all hashes that may become its leaders."""
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
    """Return the number of the nearest leader, the oldest of several, or `NOT_FOUND`."""
    query = hashes[i]
    by_layout = len(layouts) > 0
    verified = by_layout or len(vectors) > 0
    best, best_distance = NOT_FOUND, radius + 1
    first, met = 0, 0
    # With verification every leader within the radius counts as visited; else only those nearer than the best matter.
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
        # All leaders that differ in at most this many bits have been visited.
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
    # Buckets hold the hashes themselves, so that scanning one reads memory sequentially.
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
    """Second condition besides the Hamming distance: an agreement of `least` or more, -1..1.

    `looks` are layouts, (N, 64) uint8, compared as the module describes, or unit vectors, (N, D) float32, compared by
    cosine. `reach`: maximum Hamming distance, in bits, of images that are alike but for a corner; 0 disables that
    search.
    """

    looks: npt.NDArray[np.uint8] | npt.NDArray[np.float32]
    least: float
    reach: int = 0


def agreements(
    layouts: npt.NDArray[np.uint8], first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """Return the agreement of the layouts at these positions, (M,) float32, -1..1; see the module docstring."""
    return np.clip(agreements_of(layouts, first, second), -1, 1)


def alike_but_for_a_corner(
    layouts: npt.NDArray[np.uint8], first: npt.NDArray[np.int64], second: npt.NDArray[np.int64], least: float
) -> npt.NDArray[np.bool_]:
    """Return which layouts at these positions are alike but for a corner, (M,) bool; see `corner_overlay`."""
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
    """Assign every hash a leader that differs from it in at most `radius` bits and passes the verification `verify`.

    `hashes` has shape (N,); the first len(old_leader) of them have a leader already, which stays. The others are taken
    in order: each joins the leader of the first equal hash before it, else that of its `predecessor` (a position before
    its own, or -1), else the nearest leader of all (the earliest of several), else the nearest within `verify.reach`
    that is alike but for a corner, else it becomes one itself; a leader that is too far or does not agree is skipped.
    Returns positions, shape (N,); a leader's is its own. Exact, unless more than `patience` leaders within the radius
    fail the verification: see the module docstring.
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
    """Return the cross words of the layouts (see `corner_overlay`), (N,) uint64, or (0,) without `reach`."""
    layouts, _, _ = kinds(verify)
    return np.asarray(cross_words(layouts if verify and verify.reach else layouts[:0]), np.uint64)


def kinds(verify: Verification | None) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32], float]:
    """Return layouts, vectors and the minimum agreement; at least one of the two arrays is empty."""
    layouts, vectors = np.empty((0, LAYOUT_SIDE**2), np.uint8), np.empty((0, 0), np.float32)
    if verify and verify.looks.dtype == np.uint8:
        layouts = verify.looks.astype(np.uint8, copy=False)
    elif verify:
        vectors = verify.looks.astype(np.float32, copy=False)
    return layouts, vectors, verify.least if verify else 0.0
