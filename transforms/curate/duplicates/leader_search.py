"""Search among leaders in blocks: threads search for all hashes of a block, then these are settled one by one.

Which hashes become leaders depends on those before them, so that they are settled in order. What takes long, the search
among the leaders that were there before the block, does not depend on the block, and is done ahead by several threads.
What is left to the one by one are the few leaders that the block itself has brought. The result is that of a search
one by one: where a search ahead has come near its limits (`patience`, see `hamming`), it is done again in order.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from transforms.curate.duplicates.corner_overlay import ALIKE, SLACK, WALK, alike_but_for_a_corner, search_corners
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
from transforms.curate.duplicates.layout_correlation import UNIT, agrees, to_units, units_agree

BLOCK = 1024
"""Hashes that are searched for ahead together."""
_PER_TASK = 128
NOT_SEARCHED = -2

Int64Array = npt.NDArray[np.int64]


class Compared(NamedTuple):
    """Hashes, (N,) uint64, and what else they are compared by; empty arrays for what they are not.

    `crosses`: cross words, (N,) uint64. `layouts`: (N, 64) uint8. `vectors`: (N, D) float32. `same_as`: position of the
    first equal hash; `predecessor`: that of the frame before, or -1; both (N,) int64.
    """

    hashes: npt.NDArray[np.uint64]
    crosses: npt.NDArray[np.uint64]
    layouts: npt.NDArray[np.uint8]
    vectors: npt.NDArray[np.float32]
    same_as: Int64Array
    predecessor: Int64Array


class Search(NamedTuple):
    """Limits of a search: bits, minimum agreement, bits of images alike but for a corner, and leaders to visit."""

    radius: int
    least: float
    reach: int
    patience: int


class _Index(NamedTuple):
    """The leaders: in buckets of their hashes and cross words, and by number in the order in which they became leaders.

    `bounds` has beginning and end of each bucket, (4, 65536, 2); `words` and `numbers` are what is in them. `at`,
    `word`, `cross` and `units` are position, hash, cross word and unit vectors of each leader.
    """

    bounds: Any
    words: Any
    numbers: Any
    cross_start: Any
    cross_filled: Any
    cross_words: Any
    cross_numbers: Any
    at: Any
    word: Any
    cross: Any
    units: Any


class _Ahead(NamedTuple):
    """What was found ahead for each hash of a block: number and distance of the nearest leader, and leaders met.

    The same, and the entries scanned, of the search for images alike but for a corner.
    """

    best: Any
    distance: Any
    met: Any
    corner: Any
    corner_distance: Any
    corner_met: Any
    corner_passed: Any


def join_in_blocks(known: Compared, old_leader: Int64Array, search: Search) -> Int64Array:
    """Return the position of the leader of each hash, (N,) int64, as `hamming.join_leaders` describes it."""
    n, n_old = len(known.hashes), len(old_leader)
    leader = np.empty(n, np.int64)
    leader[:n_old] = old_leader
    index = _empty_index(known, n_old, old_leader)
    masks, ends = flip_masks(search.radius)
    ahead = _Ahead(*(np.empty(BLOCK, np.int64) for _ in _Ahead._fields))
    n_leaders = 0
    for first, last in _blocks(0, n_old):
        ahead.best[:] = NOT_SEARCHED
        n_leaders = _settle(first, last, n_old, known, leader, index, n_leaders, search, masks, ends, ahead)
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:
        for first, last in _blocks(n_old, n):
            ahead.best[:] = NOT_SEARCHED
            # While there are few leaders, to search for one takes less time than to hand it over.
            if n_leaders > BLOCK and threads > 1:
                tasks = []
                for at in range(first, last, _PER_TASK):
                    end = min(at + _PER_TASK, last)
                    tasks.append(
                        pool.submit(_search_ahead, at, end, first, known, leader, index, search, masks, ends, ahead)
                    )
                for task in tasks:
                    task.result()
            n_leaders = _settle(first, last, n_old, known, leader, index, n_leaders, search, masks, ends, ahead)
    return leader


def _blocks(first: int, last: int) -> Iterator[tuple[int, int]]:
    return ((at, min(at + BLOCK, last)) for at in range(first, last, BLOCK))


def _empty_index(known: Compared, n_old: int, old_leader: Int64Array) -> _Index:
    verified = len(known.layouts) + len(known.vectors) > 0
    start = make_room(known.hashes, known.same_as, n_old, old_leader, verified)
    most = int(start[0, 1 << BAND_BITS])
    # Both numbers of a bucket are in one line of a cache, which all of them together fit into.
    bounds = np.repeat(start[:, :-1, None], 2, axis=2).astype(np.int32)
    crossed = len(known.crosses) > 0
    # Buckets hold the hashes themselves, so that scanning one reads memory sequentially.
    return _Index(
        bounds,
        np.empty((BANDS, most), np.uint64),
        np.empty((BANDS, most), np.int32),
        make_room(known.crosses, known.same_as, n_old, old_leader, True) if crossed else start[:0],
        np.zeros((BANDS if crossed else 0, 1 << BAND_BITS), np.int64),
        np.empty((BANDS, most if crossed else 0), np.uint64),
        np.empty((BANDS, most if crossed else 0), np.int32),
        np.empty(most, np.int64),
        np.empty(most, np.uint64),
        np.empty(most if crossed else 0, np.uint64),
        np.empty((most if len(known.layouts) else 0, 4, UNIT), np.float32),
    )


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


@numba.njit(cache=True, inline="always")
def searches(flips, band, radius):  # type: ignore[no-untyped-def]
    """Return whether buckets of a band with this many flipped bits are searched for a radius.

    Of the bits by which two hashes differ, four bands cannot all have more than their share: for 4 s + a bits one of
    the first a + 1 bands has s or fewer, or one of the others has s - 1 or fewer.
    """
    return flips < radius // BANDS or band <= radius - radius // BANDS * BANDS


@numba.njit(cache=True)
def _nearest(i, own, known, index, search, masks, ends):  # type: ignore[no-untyped-def] # noqa: C901, PLR0912 - one walk
    """Return the number of the nearest leader, the oldest of several, or `NOT_FOUND`; its distance; leaders met."""
    query = known.hashes[i]
    by_layout = len(known.layouts) > 0
    verified = by_layout or len(known.vectors) > 0
    radius, least, patience = search.radius, search.least, search.patience
    best, best_distance = NOT_FOUND, radius + 1
    first, met = 0, 0
    # With verification every leader within the radius counts as visited; else only those nearer than the best matter.
    limit = radius
    for flips in range(len(ends)):
        for band in range(BANDS):
            if not searches(flips, band, radius):
                continue
            value = band_value(query, band)
            words, bounds = index.words[band], index.bounds[band]
            for mask in masks[first : ends[flips]]:
                bucket = value ^ mask
                for at in range(bounds[bucket, 1] - 1, bounds[bucket, 0] - 1, -1):
                    found = distance_of(words[at], query)
                    if found > limit:
                        continue
                    if verified:
                        met += 1
                        if met > patience:
                            return best, best_distance, met
                    if found > best_distance:
                        continue
                    number = index.numbers[band, at]
                    if found == best_distance and number >= best and best != NOT_FOUND:
                        continue
                    if verified and not is_first_meeting(words[at] ^ query, flips, band):
                        continue
                    verdict = units_agree(own, index.units, number, least) if by_layout else -1
                    if verdict == 1 or (
                        verdict < 0 and looks_agree(known.layouts, known.vectors, i, index.at[number], least)
                    ):
                        best, best_distance = number, found
                        limit = radius if verified else found
        first = ends[flips]
        # All leaders that differ in at most this many bits have been visited.
        if best_distance <= BANDS * (flips + 1) - 1:
            break
    return best, best_distance, met


@numba.njit(cache=True)
def _corner(i, known, index, search):  # type: ignore[no-untyped-def]
    return search_corners(
        i, known.crosses, known.hashes, search.reach, known.layouts, max(search.least, ALIKE), search.patience,
        index.at, index.cross_words, index.cross_numbers, index.cross_start, index.cross_filled,
    )  # fmt: skip


@numba.njit(cache=True, nogil=True)
def _search_ahead(first, last, block, known, leader, index, search, masks, ends, ahead):  # type: ignore[no-untyped-def]
    """Search for hashes `first` to `last` of the block that begins at `block`, among the leaders before it.

    Those that will join the leader of an equal hash, or of their predecessor, are left out.
    """
    own = np.empty((4, UNIT), np.float32)
    for i in range(first, last):
        same, before = known.same_as[i], known.predecessor[i]
        if same != i:
            other = leader[same] if same < block else same
            if looks_agree(known.layouts, known.vectors, i, other, search.least):
                continue
        if before != NOT_FOUND:
            other = leader[before] if before < block else before
            near = distance_of(known.hashes[other], known.hashes[i]) <= search.radius
            if near and looks_agree(known.layouts, known.vectors, i, other, search.least):
                continue
        if len(known.layouts):
            to_units(known.layouts[i], own)
        k = i - block
        ahead.best[k], ahead.distance[k], ahead.met[k] = _nearest(i, own, known, index, search, masks, ends)
        if ahead.best[k] == NOT_FOUND and len(known.crosses):
            found = _corner(i, known, index, search)
            ahead.corner[k], ahead.corner_distance[k], ahead.corner_met[k], ahead.corner_passed[k] = found


@numba.njit(cache=True)
def _among_new(i, own, known, index, search, first, last, best, best_distance):  # type: ignore[no-untyped-def]
    """Return the nearest leader, given that among those before `first`, its distance, and how many are near."""
    query = known.hashes[i]
    by_layout = len(known.layouts) > 0
    near = 0
    # Counted first, which takes no branch: most hashes have none near among these few.
    for number in range(first, last):
        near += distance_of(index.word[number], query) <= search.radius
    if near == 0:
        return best, best_distance, near
    for number in range(first, last):
        found = distance_of(index.word[number], query)
        if found > search.radius:
            continue
        # Of leaders at the same distance the oldest counts.
        if found >= best_distance:
            continue
        verdict = units_agree(own, index.units, number, search.least) if by_layout else -1
        if verdict == 1 or (
            verdict < 0 and looks_agree(known.layouts, known.vectors, i, index.at[number], search.least)
        ):
            best, best_distance = number, found
    return best, best_distance, near


@numba.njit(cache=True)
def _corner_among_new(i, known, index, search, first, last, best, best_distance):  # type: ignore[no-untyped-def]
    """Do the same for images alike but for a corner."""
    query = known.crosses[i]
    alike = max(search.least, ALIKE)
    near = 0
    for number in range(first, last):
        near += distance_of(index.cross[number], query) <= SLACK
    if near == 0:
        return best, near
    for number in range(first, last):
        if distance_of(index.cross[number], query) > SLACK:
            continue
        found = distance_of(index.word[number], known.hashes[i])
        if found < best_distance and alike_but_for_a_corner(known.layouts[index.at[number]], known.layouts[i], alike):
            best, best_distance = number, found
    return best, near


@numba.njit(cache=True)
def _found_in_order(i, k, own, known, index, search, masks, ends, ahead, first, last):  # type: ignore[no-untyped-def]
    """Return the number of the leader that hash i joins, or `NOT_FOUND`; `first` is the first leader of the block."""
    best, near = ahead.best[k], np.int64(0)
    # A new leader is met once per band at most.
    if best != NOT_SEARCHED:
        best, _, near = _among_new(i, own, known, index, search, first, last, best, ahead.distance[k])
    if best == NOT_SEARCHED or ahead.met[k] + BANDS * near > search.patience:
        best = _nearest(i, own, known, index, search, masks, ends)[0]
        if best == NOT_FOUND and len(known.crosses):
            best = _corner(i, known, index, search)[0]
        return best
    if best != NOT_FOUND or not len(known.crosses):
        return best
    best, near = _corner_among_new(i, known, index, search, first, last, ahead.corner[k], ahead.corner_distance[k])
    if ahead.corner_met[k] + near > search.patience or ahead.corner_passed[k] + BANDS * (last - first) > WALK:
        best = _corner(i, known, index, search)[0]
    return best


@numba.njit(cache=True, nogil=True)
def _settle(first, last, n_old, known, leader, index, n_leaders, search, masks, ends, ahead):  # type: ignore[no-untyped-def]
    """Write the leaders of hashes `first` to `last`, in order, and return the number of leaders then."""
    own = np.empty((4, UNIT), np.float32)
    hashes, layouts, vectors = known.hashes, known.layouts, known.vectors
    n_before = n_leaders
    for i in range(first, last):
        if i < n_old:
            if leader[i] != i:
                continue
            if len(layouts):
                to_units(layouts[i], own)
        else:
            same = known.same_as[i]
            if same != i and looks_agree(layouts, vectors, i, leader[same], search.least):
                leader[i] = leader[same]
                continue
            before = known.predecessor[i]
            near = before != NOT_FOUND and distance_of(hashes[leader[before]], hashes[i]) <= search.radius
            if near and looks_agree(layouts, vectors, i, leader[before], search.least):
                leader[i] = leader[before]
                continue
            if len(layouts):
                to_units(layouts[i], own)
            found = _found_in_order(i, i - first, own, known, index, search, masks, ends, ahead, n_before, n_leaders)
            if found != NOT_FOUND:
                leader[i] = index.at[found]
                continue
            leader[i] = i
        for band in range(BANDS):
            bucket = band_value(hashes[i], band)
            at = index.bounds[band, bucket, 1]
            index.words[band, at] = hashes[i]
            index.numbers[band, at] = n_leaders
            index.bounds[band, bucket, 1] = at + 1
        index.at[n_leaders] = i
        index.word[n_leaders] = hashes[i]
        if len(known.crosses):
            corners = (index.cross_words, index.cross_numbers, index.cross_start, index.cross_filled)
            insert_leader(known.crosses[i], n_leaders, *corners)
            index.cross[n_leaders] = known.crosses[i]
        if len(layouts):
            index.units[n_leaders] = own
        n_leaders += 1
    return n_leaders
