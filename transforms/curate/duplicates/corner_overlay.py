"""Near-duplicate search that tolerates an overlay in one corner, by a second hash that leaves the corners out.

A logo, a clock or a channel name in a corner changes up to half the bits of the perceptual hash of the whole image,
because each bit is only a sign relative to the median; the layout cells (`hashing.layouts`) outside the corner keep
their values. Leaders are therefore also indexed by a cross word: one bit for each of the 48 cells in no
2x2 corner, set if the cell is brighter than the mean of the 48. Cross words of such images differ in at most `SLACK`
bits, so that at least one of their four 12-bit bands is equal, and one bucket per band has to be searched.

A candidate has to correlate outside the corner more strongly than two moments of a moving scene do: 0.99 or more in
each of the other three quarters, and in the remaining cells of the corner's own quarter. On the clips of
docs/evaluation.md this adds 18 pairs of frames to 70,000, where a radius of 16 bits adds 14,000.
"""

from __future__ import annotations

import numba
import numpy as np

from transforms.curate.duplicates.hamming_buckets import (
    BAND_BITS,
    BANDS,
    NOT_FOUND,
    band_value,
    distance_of,
    is_first_meeting,
)
from transforms.curate.duplicates.layout_correlation import QUARTER, coefficient, correlation
from transforms.metrics.hashing import LAYOUT_SIDE

ALIKE = 0.99
"""Minimum correlation, -1..1; a higher `least` of the verification takes precedence."""
SLACK = BANDS - 1
CORNER = 2
_CROSS = LAYOUT_SIDE**2 - 4 * CORNER**2
WALK = 1 << 16
"""Maximum number of bucket entries a query scans, newest first; bounds the cost when one camera fills few buckets."""


@numba.njit(cache=True, inline="always")
def _is_inner(y, x):  # type: ignore[no-untyped-def]
    """Return whether a cell is outside the four corners, in the cross."""
    return CORNER <= y < LAYOUT_SIDE - CORNER or CORNER <= x < LAYOUT_SIDE - CORNER


@numba.njit(cache=True)
def cross_words(layouts):  # type: ignore[no-untyped-def]
    """Return the cross words, (N,) uint64, of layouts, (N, 64) uint8; the k-th cell of the cross is in band k mod 4."""
    words = np.zeros(len(layouts), np.uint64)
    for i in range(len(layouts)):
        total = np.int64(0)
        for y in range(LAYOUT_SIDE):
            for x in range(LAYOUT_SIDE):
                if _is_inner(y, x):
                    total += layouts[i, y * LAYOUT_SIDE + x]
        k = 0
        word = np.uint64(0)
        for y in range(LAYOUT_SIDE):
            for x in range(LAYOUT_SIDE):
                if _is_inner(y, x):
                    if np.int64(layouts[i, y * LAYOUT_SIDE + x]) * _CROSS > total:
                        word |= np.uint64(1) << np.uint64((k % BANDS) * BAND_BITS + k // BANDS)
                    k += 1
        words[i] = word
    return words


@numba.njit(cache=True)
def _beside_corner(a, b, row, column):  # type: ignore[no-untyped-def]
    """Return the correlation, -1..1, of two layouts in the quarter that begins at this cell, without its corner."""
    sum_a, sum_b, aa, bb, ab = np.int64(0), np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    for y in range(row, row + QUARTER):
        for x in range(column, column + QUARTER):
            if _is_inner(y, x):
                u, v = np.int64(a[y * LAYOUT_SIDE + x]), np.int64(b[y * LAYOUT_SIDE + x])
                sum_a += u
                sum_b += v
                aa += u * u
                bb += v * v
                ab += u * v
    return coefficient(sum_a, sum_b, aa, bb, ab, QUARTER * QUARTER - CORNER * CORNER)


@numba.njit(cache=True)
def alike_but_for_a_corner(a, b, alike):  # type: ignore[no-untyped-def]
    """Return whether all quarters of two layouts correlate by `alike` or more, ignoring the corner of at most one."""
    spared = False
    for row in (0, QUARTER):
        for column in (0, QUARTER):
            if correlation(a, b, row, column) < alike:
                if spared or _beside_corner(a, b, row, column) < alike:
                    return False
                spared = True
    return True


@numba.njit(cache=True)
def nearest_but_for_a_corner(  # type: ignore[no-untyped-def]
    i, crosses, hashes, reach, layouts, alike, patience, leader_at, words, numbers, start, filled
):
    """Return the number of the leader nearest in hash, within `reach` bits, that is alike but for a corner.

    Ties go to the oldest leader; `NOT_FOUND` if there is none. At most `patience` leaders whose cross word is near are
    examined, the newest of a bucket first.
    """
    return search_corners(
        i, crosses, hashes, reach, layouts, alike, patience, leader_at, words, numbers, start, filled
    )[0]


@numba.njit(cache=True)
def search_corners(  # type: ignore[no-untyped-def]
    i, crosses, hashes, reach, layouts, alike, patience, leader_at, words, numbers, start, filled
):
    """Do what `nearest_but_for_a_corner` does; return distance, leaders examined and entries scanned as well."""
    query = crosses[i]
    best, best_distance = NOT_FOUND, reach + 1
    met, passed = 0, 0
    for band in range(BANDS):
        value = band_value(query, band)
        begin = start[band, value]
        for at in range(begin + filled[band, value] - 1, begin - 1, -1):
            passed += 1
            if passed > WALK:
                return best, best_distance, met, passed
            if distance_of(words[band, at], query) > SLACK or not is_first_meeting(words[band, at] ^ query, 0, band):
                continue
            met += 1
            if met > patience:
                return best, best_distance, met, passed
            number = numbers[band, at]
            found = distance_of(hashes[leader_at[number]], hashes[i])
            if found > best_distance or (found == best_distance and (number >= best or best == NOT_FOUND)):
                continue
            if alike_but_for_a_corner(layouts[leader_at[number]], layouts[i], alike):
                best, best_distance = number, found
    return best, best_distance, met, passed


@numba.njit(cache=True)
def are_alike(layouts, first, second, alike):  # type: ignore[no-untyped-def]
    """Return which pairs of layouts, positions of shape (M,) each, are alike but for a corner: (M,) bool."""
    found = np.empty(len(first), np.bool_)
    for i in range(len(first)):
        found[i] = alike_but_for_a_corner(layouts[first[i]], layouts[second[i]], alike)
    return found
