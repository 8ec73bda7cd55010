"""Nearest representatives among 64-bit hashes, exact to a radius, each of them verified where that is asked for.

By the pigeonhole principle two hashes that differ in at most r bits agree in one of their four 16-bit bands up to
r // 4 bits (Manku, Jain and Das Sarma 2007, "Detecting near-duplicates for web crawling"). Representatives hang in one
bucket per band value; a query looks at its own bucket of each band, then at those one flipped bit away, and so on, and
stops as soon as nothing closer than the best it found can be left. A bucket is walked from the youngest leader back.

Verification compares layouts (`transforms.hashing.layouts`), since a hash keeps only signs: pictures of one room with
and without a person in it may have the same one. The cells of a layout lie in four quarters, which are correlated one
by one; three of them have to agree. A logo in a corner then does no harm, and brightness and contrast never did.
Leaders have the cells of each quarter at hand as a vector of length 1, so that a correlation is one product of two
vectors; what comes too close to the limit for its rounding is computed anew, in full.

A camera that never comes to rest may have hundreds of thousands of leaders that are near in hash and look otherwise.
So that its millionth frame costs no more than its ten thousandth, a query that is verified meets at most `PATIENCE`
leaders within the radius, in the order of its walk, a leader once for every bucket that both are in; then it has seen
enough and leads a group of its own, if none agreed. Below that number nothing is missed.

Compiled by numba, whose import takes half a second: import this module where it is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numba
import numpy as np
import numpy.typing as npt

from transforms.hashing import FLAT, LAYOUT_SIDE
from transforms.identity import first_equal

_QUARTER = LAYOUT_SIDE // 2
_FLAT = FLAT * _QUARTER**2
"""Power that every quarter is taken to have in common. Quarters without more than that are flat, and agree."""

BANDS = 4
BAND_BITS = 16
NOT_FOUND = -1

PATIENCE = 1 << 12
"""How many leaders within the radius a query meets at most, if they are verified."""

_UNIT = _QUARTER**2 + 1
# What rounding can make of a product of two vectors of that length, in single precision, with room to spare.
_ROUNDING = 1e-5


def flip_masks(radius: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the band masks to try for a radius, fewest flipped bits first, and where each number of bits ends."""
    masks, ends = [], []
    for flips in range(radius // BANDS + 1):
        masks += [sum(1 << bit for bit in bits) for bits in combinations(range(BAND_BITS), flips)]
        ends.append(len(masks))
    return np.array(masks, np.int64), np.array(ends, np.int64)


@numba.njit(cache=True, inline="always")
def _distance(a, b):  # type: ignore[no-untyped-def]
    """Count the bits in which two words differ."""
    x = a ^ b
    x -= (x >> np.uint64(1)) & np.uint64(0x5555555555555555)
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((x * np.uint64(0x0101010101010101)) >> np.uint64(56))


@numba.njit(cache=True, inline="always")
def _band_value(word, band):  # type: ignore[no-untyped-def]
    return np.int64((word >> np.uint64(band * BAND_BITS)) & np.uint64(0xFFFF))


@numba.njit(cache=True)
def _quarter(a, b, row, column):  # type: ignore[no-untyped-def]
    """Return the correlation of two layouts in the quarter that begins at this cell."""
    sum_a, sum_b, aa, bb, ab = np.int64(0), np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    for y in range(row, row + _QUARTER):
        for x in range(column, column + _QUARTER):
            u, v = np.int64(a[y * LAYOUT_SIDE + x]), np.int64(b[y * LAYOUT_SIDE + x])
            sum_a += u
            sum_b += v
            aa += u * u
            bb += v * v
            ab += u * v
    n = _QUARTER * _QUARTER
    power_a = aa - sum_a * sum_a / n + _FLAT
    power_b = bb - sum_b * sum_b / n + _FLAT
    return (ab - sum_a * sum_b / n + _FLAT) / np.sqrt(power_a * power_b)


@numba.njit(cache=True)
def _agreement(a, b):  # type: ignore[no-untyped-def]
    """Return the second lowest correlation of the four quarters."""
    lowest, second = 2.0, 2.0
    for row in (0, _QUARTER):
        for column in (0, _QUARTER):
            found = _quarter(a, b, row, column)
            if found < lowest:
                lowest, second = found, lowest
            elif found < second:
                second = found
    return second


@numba.njit(cache=True)
def _agrees(a, b, least):  # type: ignore[no-untyped-def]
    """Say whether `_agreement` is `least` or more, which two quarters may be enough to deny."""
    below = 0
    for row in (0, _QUARTER):
        for column in (0, _QUARTER):
            if _quarter(a, b, row, column) < least:
                below += 1
                if below == 2:
                    return False
    return True


@numba.njit(cache=True)
def _agreements(layouts, first, second):  # type: ignore[no-untyped-def]
    found = np.empty(len(first), np.float32)
    for i in range(len(first)):
        found[i] = _agreement(layouts[first[i]], layouts[second[i]])
    return found


@numba.njit(cache=True)
def _to_units(layout, units):  # type: ignore[no-untyped-def]
    """Write the four quarters of a layout as vectors of length 1, whose product is `_quarter` of the two layouts."""
    quarter = 0
    for row in (0, _QUARTER):
        for column in (0, _QUARTER):
            total, power = np.int64(0), np.int64(0)
            for y in range(row, row + _QUARTER):
                for x in range(column, column + _QUARTER):
                    u = np.int64(layout[y * LAYOUT_SIDE + x])
                    total += u
                    power += u * u
            mean = total / (_QUARTER * _QUARTER)
            length = np.sqrt(power - total * mean + _FLAT)
            k = 0
            for y in range(row, row + _QUARTER):
                for x in range(column, column + _QUARTER):
                    units[quarter, k] = (layout[y * LAYOUT_SIDE + x] - mean) / length
                    k += 1
            units[quarter, k] = np.sqrt(_FLAT) / length
            quarter += 1


@numba.njit(cache=True, fastmath=True)
def _units_agree(own, units, number, least):  # type: ignore[no-untyped-def]
    """Say what `_agrees` says of the layouts: 1 or 0, or -1 where rounding may decide."""
    below, close = 0, 0
    for quarter in range(4):
        found = np.float32(0)
        for k in range(_UNIT):
            found += own[quarter, k] * units[number, quarter, k]
        if found < least - _ROUNDING:
            below += 1
            if below == 2:
                return 0
        elif found < least + _ROUNDING:
            close += 1
    return 1 if below + close < 2 else -1


@numba.njit(cache=True)
def _is_near(a, b, least):  # type: ignore[no-untyped-def]
    """Say whether the cosine of two vectors of length 1 is `least` or more."""
    total = np.float32(0)
    for i in range(len(a)):
        total += a[i] * b[i]
    return total >= least


@numba.njit(cache=True, inline="always")
def _agree(layouts, vectors, i, j, least):  # type: ignore[no-untyped-def]
    if len(vectors):
        return _is_near(vectors[i], vectors[j], least)
    return len(layouts) == 0 or _agrees(layouts[i], layouts[j], least)


@numba.njit(cache=True)
def _make_room(hashes, same_as, n_old, old_leader, verified):  # type: ignore[no-untyped-def]
    """Lay out every band's buckets one after another, each with room for all that could become its leaders."""
    start = np.zeros((BANDS, (1 << BAND_BITS) + 1), np.int64)
    for i in range(len(hashes)):
        if (i >= n_old and (verified or same_as[i] == i)) or (i < n_old and old_leader[i] == i):
            for band in range(BANDS):
                start[band, _band_value(hashes[i], band) + 1] += 1
    for band in range(BANDS):
        for value in range(1 << BAND_BITS):
            start[band, value + 1] += start[band, value]
    return start


@numba.njit(cache=True)
def _hang_in(word, number, words, numbers, start, filled):  # type: ignore[no-untyped-def]
    for band in range(BANDS):
        value = _band_value(word, band)
        at = start[band, value] + filled[band, value]
        words[band, at] = word
        numbers[band, at] = number
        filled[band, value] += 1


@numba.njit(cache=True, inline="always")
def _is_first_meeting(differing, flips, band):  # type: ignore[no-untyped-def]
    """Say whether a walk comes to a pair here, with so many flips in this band, and not in a bucket before."""
    x = differing - ((differing >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    # The number of bits in each band, in the place of the band.
    x = (x + (x >> np.uint64(8))) & np.uint64(0x00FF00FF00FF00FF)
    for other in range(BANDS):
        bits = _band_value(x, other)
        if bits < flips or (bits == flips and other < band):
            return False
    return True


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
            value = _band_value(query, band)
            for mask in masks[first : ends[flips]]:
                begin = start[band, value ^ mask]
                for at in range(begin + filled[band, value ^ mask] - 1, begin - 1, -1):
                    found = _distance(words[band, at], query)
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
                    if verified and not _is_first_meeting(words[band, at] ^ query, flips, band):
                        continue
                    said = _units_agree(own, units, number, least) if by_layout else -1
                    if said == 1 or (said < 0 and _agree(layouts, vectors, i, leader_at[number], least)):
                        best, best_distance = number, found
                        limit = radius if verified else found
        first = ends[flips]
        # Whatever differs in no more than this many bits has been seen by now.
        if best_distance <= BANDS * (flips + 1) - 1:
            break
    return best


@numba.njit(cache=True, nogil=True)
def _join_leaders(  # type: ignore[no-untyped-def]
    hashes, predecessor, same_as, n_old, old_leader, radius, layouts, vectors, least, patience, masks, ends
):
    n = len(hashes)
    leader = np.empty(n, np.int64)
    start = _make_room(hashes, same_as, n_old, old_leader, len(layouts) + len(vectors) > 0)
    filled = np.zeros((BANDS, 1 << BAND_BITS), np.int64)
    # The hashes lie in their buckets themselves: to walk a bucket is to read memory in order.
    most = start[0, 1 << BAND_BITS]
    words = np.empty((BANDS, most), np.uint64)
    numbers = np.empty(words.shape, np.int32)
    leader_at = np.empty(most, np.int64)
    units = np.empty((most if len(layouts) else 0, 4, _UNIT), np.float32)
    own = np.empty((4, _UNIT), np.float32)
    n_leaders = 0
    for i in range(n):
        if i < n_old:
            leader[i] = old_leader[i]
            if leader[i] != i:
                continue
            if len(layouts):
                _to_units(layouts[i], own)
        else:
            if same_as[i] != i and _agree(layouts, vectors, i, leader[same_as[i]], least):
                leader[i] = leader[same_as[i]]
                continue
            before = predecessor[i]
            near = before != NOT_FOUND and _distance(hashes[leader[before]], hashes[i]) <= radius
            if near and _agree(layouts, vectors, i, leader[before], least):
                leader[i] = leader[before]
                continue
            if len(layouts):
                _to_units(layouts[i], own)
            found = _nearest(
                i, own, hashes, radius, layouts, vectors, least, patience,
                leader_at, units, words, numbers, start, filled, masks, ends,
            )  # fmt: skip
            if found != NOT_FOUND:
                leader[i] = leader_at[found]
                continue
            leader[i] = i
        _hang_in(hashes[i], n_leaders, words, numbers, start, filled)
        leader_at[n_leaders] = i
        if len(layouts):
            units[n_leaders] = own
        n_leaders += 1
    return leader


@dataclass(frozen=True)
class Verification:
    """What has to hold besides the distance, to a degree of `least` or more, -1..1.

    `looks` are layouts, (N, 64) uint8, that agree as the module says, or vectors of length 1, (N, D) float32, of such a
    cosine.
    """

    looks: npt.NDArray[np.uint8] | npt.NDArray[np.float32]
    least: float


def agreements(
    layouts: npt.NDArray[np.uint8], first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """Return how well the layouts at these positions agree, shape (M,), -1..1: see the module."""
    return np.clip(_agreements(layouts, first, second), -1, 1)


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
    its own, or -1), else the nearest leader of all (the earliest of several), else it becomes one itself; a leader that
    is too far or does not agree is passed over. Returns positions, shape (N,); a leader's is its own. Exact: nothing
    within the radius is missed, unless more leaders than `patience` are there and look otherwise: see the module.
    """
    layouts, vectors, least = kinds(verify)
    masks, ends = flip_masks(radius)
    same_as = first_equal(hashes)
    n_old = len(old_leader)
    return _join_leaders(
        hashes, predecessor, same_as, n_old, old_leader, radius, layouts, vectors, least, patience, masks, ends
    )


def kinds(verify: Verification | None) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32], float]:
    """Return layouts and vectors, of which one at least is empty, and the degree to which they have to agree."""
    layouts, vectors = np.empty((0, LAYOUT_SIDE**2), np.uint8), np.empty((0, 0), np.float32)
    if verify and verify.looks.dtype == np.uint8:
        layouts = verify.looks.astype(np.uint8, copy=False)
    elif verify:
        vectors = verify.looks.astype(np.float32, copy=False)
    return layouts, vectors, verify.least if verify else 0.0
