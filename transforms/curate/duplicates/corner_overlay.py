"""Pictures that are alike but for a corner, found by what no corner touches.

A logo in a corner, a clock or a channel's name moves the hash of the whole picture by up to half its bits, since that
has only signs against their median; the cells of the layout (`hashing.layouts`) away from it stay what they
were. So leaders hang in a second set of buckets, by a word of the cells that lie in no corner of 2 by 2: a cross of 48,
a bit each for whether a cell is brighter than their mean. Words of such pictures differ in `SLACK` bits at most, so
that they agree in one of four bands of 12, and one bucket of each is looked at.

What is met there has to be alike outside the corner to a degree that no two moments of a moving scene are: 0.99 for
each of the other quarters, and for the cells of its own that the corner leaves. On the clips of docs/evaluation.md this
adds 18 pairs of frames to 70,000, where a radius of 16 bits adds 14,000.
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
"""The least correlation; a higher one that is asked for of all pictures holds here too."""
SLACK = BANDS - 1
CORNER = 2
_CROSS = LAYOUT_SIDE**2 - 4 * CORNER**2
_WALK = 1 << 16
"""How many leaders a query passes at most: one camera's crowd in few buckets. The youngest come first."""


@numba.njit(cache=True, inline="always")
def _is_inner(y, x):  # type: ignore[no-untyped-def]
    """Say whether a cell lies in the cross."""
    return CORNER <= y < LAYOUT_SIDE - CORNER or CORNER <= x < LAYOUT_SIDE - CORNER


@numba.njit(cache=True)
def cross_words(layouts):  # type: ignore[no-untyped-def]
    """Return the words of layouts, (N, 64) uint8, shape (N,), uint64: the k-th cell of the cross in band k mod 4."""
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
    """Return the correlation of two layouts in the cells that a corner leaves of the quarter that begins here."""
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
    """Say whether all quarters of two layouts correlate by `alike` or more, a corner of one of them left out."""
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
    """Return the number of the leader that is nearest in hash, within `reach` bits, and alike but for a corner.

    The oldest of several. At most `patience` leaders of near words are looked at, the youngest of a bucket first.
    """
    query = crosses[i]
    best, best_distance = NOT_FOUND, reach + 1
    met, passed = 0, 0
    for band in range(BANDS):
        value = band_value(query, band)
        begin = start[band, value]
        for at in range(begin + filled[band, value] - 1, begin - 1, -1):
            passed += 1
            if passed > _WALK:
                return best
            if distance_of(words[band, at], query) > SLACK or not is_first_meeting(words[band, at] ^ query, 0, band):
                continue
            met += 1
            if met > patience:
                return best
            number = numbers[band, at]
            found = distance_of(hashes[leader_at[number]], hashes[i])
            if found > best_distance or (found == best_distance and (number >= best or best == NOT_FOUND)):
                continue
            if alike_but_for_a_corner(layouts[leader_at[number]], layouts[i], alike):
                best, best_distance = number, found
    return best


@numba.njit(cache=True)
def are_alike(layouts, first, second, alike):  # type: ignore[no-untyped-def]
    """Say of pairs of layouts, by their positions, (M,) each, whether they are alike but for a corner, shape (M,)."""
    found = np.empty(len(first), np.bool_)
    for i in range(len(first)):
        found[i] = alike_but_for_a_corner(layouts[first[i]], layouts[second[i]], alike)
    return found
