"""Nearest representatives among 64-bit hashes, exact to a radius.

By the pigeonhole principle two hashes that differ in at most r bits agree in one of their four 16-bit bands up to
r // 4 bits (Manku, Jain and Das Sarma 2007, "Detecting near-duplicates for web crawling"). Representatives hang in one
bucket per band value; a query looks at its own bucket of each band, then at those one flipped bit away, and so on, and
stops as soon as nothing closer than the best it found can be left.

Compiled by numba, whose import takes half a second: import this module where it is used.
"""

from __future__ import annotations

from itertools import combinations

import numba
import numpy as np
import numpy.typing as npt

BANDS = 4
BAND_BITS = 16
NOT_FOUND = -1


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
def _make_room(hashes, same_as, n_old, old_leader):  # type: ignore[no-untyped-def]
    """Lay out every band's buckets one after another, each with room for all that could become its leaders."""
    start = np.zeros((BANDS, (1 << BAND_BITS) + 1), np.int64)
    for i in range(len(hashes)):
        if (i >= n_old and same_as[i] == i) or (i < n_old and old_leader[i] == i):
            for band in range(BANDS):
                start[band, _band_value(hashes[i], band) + 1] += 1
    for band in range(BANDS):
        for value in range(1 << BAND_BITS):
            start[band, value + 1] += start[band, value]
    return start


@numba.njit(cache=True)
def _hang_in(word, position, words, positions, start, filled):  # type: ignore[no-untyped-def]
    for band in range(BANDS):
        value = _band_value(word, band)
        at = start[band, value] + filled[band, value]
        words[band, at] = word
        positions[band, at] = position
        filled[band, value] += 1


@numba.njit(cache=True)
def _nearest(query, radius, words, positions, start, filled, masks, ends):  # type: ignore[no-untyped-def]
    best, best_distance = NOT_FOUND, radius + 1
    first = 0
    for flips in range(len(ends)):
        for band in range(BANDS):
            own = _band_value(query, band)
            for i in range(first, ends[flips]):
                value = own ^ masks[i]
                for at in range(start[band, value], start[band, value] + filled[band, value]):
                    found = _distance(words[band, at], query)
                    if found <= best_distance:
                        position = positions[band, at]
                        if found < best_distance or position < best:
                            best, best_distance = position, found
        first = ends[flips]
        # Whatever differs in no more than this many bits has been seen by now.
        if best_distance <= BANDS * (flips + 1) - 1:
            break
    return best if best_distance <= radius else NOT_FOUND


@numba.njit(cache=True)
def _join_leaders(hashes, predecessor, same_as, n_old, old_leader, radius, masks, ends):  # type: ignore[no-untyped-def]
    n = len(hashes)
    leader = np.empty(n, np.int64)
    start = _make_room(hashes, same_as, n_old, old_leader)
    filled = np.zeros((BANDS, 1 << BAND_BITS), np.int64)
    # The hashes lie in their buckets themselves: to walk a bucket is to read memory in order.
    words = np.empty((BANDS, start[0, 1 << BAND_BITS]), np.uint64)
    positions = np.empty(words.shape, np.int32)
    for i in range(n_old):
        leader[i] = old_leader[i]
        if leader[i] == i:
            _hang_in(hashes[i], i, words, positions, start, filled)
    for i in range(n_old, n):
        if same_as[i] != i:
            leader[i] = leader[same_as[i]]
            continue
        before = predecessor[i]
        if before != NOT_FOUND and _distance(hashes[leader[before]], hashes[i]) <= radius:
            leader[i] = leader[before]
            continue
        found = _nearest(hashes[i], radius, words, positions, start, filled, masks, ends)
        if found == NOT_FOUND:
            _hang_in(hashes[i], i, words, positions, start, filled)
            found = i
        leader[i] = found
    return leader


def join_leaders(
    hashes: npt.NDArray[np.uint64],
    predecessor: npt.NDArray[np.int64],
    old_leader: npt.NDArray[np.int64],
    radius: int,
) -> npt.NDArray[np.int64]:
    """Give every hash a leader that differs from it in at most `radius` bits.

    `hashes` has shape (N,); the first len(old_leader) of them have a leader already, which stays. The others are taken
    in order: each joins the leader of an equal hash before it, else that of its `predecessor` (a position before its
    own, or -1) if it is near enough, else the nearest leader of all (the earliest of several), else it becomes one
    itself. Returns positions, shape (N,); a leader's is its own. Exact: nothing within the radius is missed.
    """
    masks, ends = flip_masks(radius)
    _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    same_as = first[inverse].astype(np.int64)
    return _join_leaders(hashes, predecessor, same_as, len(old_leader), old_leader, radius, masks, ends)
