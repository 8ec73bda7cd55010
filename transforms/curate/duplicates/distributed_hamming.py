"""Distributed search for pairs of hashes within a Hamming radius, partitioned so that many machines share the work.

Two hashes that differ in at most r bits differ in at most f = r // 4 bits of one of their four bands (see `hamming`);
if that band is split into f + 1 parts, at least one part is equal. Every hash is therefore routed to one partition
(`place`) per part of each band, keyed by the value of that part, and each partition searches for pairs among its own
hashes by flipping bits of the band's other parts. A pair that several partitions could find is emitted by one only:
that of the band with the fewest differing bits, and in it of the first equal part.

`join_pairs` then computes what `hamming.join_leaders` does, from the pairs instead of an index. Compiled by numba:
import this module where it is used.
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.core.identity import first_equal
from transforms.curate.duplicates.corner_overlay import ALIKE, nearest_but_for_a_corner
from transforms.curate.duplicates.hamming import PATIENCE, Verification, crosses_of, kinds
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
from transforms.curate.duplicates.leader_search import looks_agree, make_room, searches

Words = npt.NDArray[np.uint64]

ROUTED = pa.schema([pa.field("place", pa.int32()), pa.field("at", pa.int64()), pa.field("word", pa.int64())])
"""A hash, as a signed integer, routed to a partition; `at` is its position among all distinct hashes."""

PAIRS = pa.schema([pa.field("first", pa.int64()), pa.field("second", pa.int64())])
"""Two hashes within the radius, by their `at`; `first` is `TOO_MANY` where a partition exceeds its limit of pairs."""

TOO_MANY = -1
_KEY_BITS = 6
_MOST_PAIRS = 1 << 24
_LOW = 0xFFFFFFFF


def route(words: pa.Table, radius: int) -> pa.Table:
    """Route hashes, columns `at` and `word`, to the partitions that may hold near ones; returns schema `ROUTED`."""
    word = words["word"].to_numpy().view(np.uint64)
    places = []
    for band in range(BANDS):
        for part, (shift, width) in enumerate(_parts(radius)):
            value = (word >> np.uint64(band * BAND_BITS + shift)) & np.uint64((1 << width) - 1)
            number = band * (radius // BANDS + 1) + part
            places.append((value | np.uint64(number << _KEY_BITS)).astype(np.int32))
    n = len(places)
    routed = {"place": np.concatenate(places), "at": np.tile(words["at"].to_numpy(), n)}
    return pa.table(routed | {"word": np.tile(words["word"].to_numpy(), n)}, schema=ROUTED)


def pairs_at(routed: pa.Table, radius: int, most: int = _MOST_PAIRS) -> pa.Table:
    """Return the pairs that one partition emits, of schema `PAIRS`: each once, the higher `at` first.

    With more than `most` pairs, a single row of `TOO_MANY`.
    """
    number = routed["place"][0].as_py() >> _KEY_BITS
    band, part = divmod(number, radius // BANDS + 1)
    at, word = routed["at"].to_numpy(), routed["word"].to_numpy().view(np.uint64)
    order = np.argsort((word >> np.uint64(band * BAND_BITS)) & np.uint64(0xFFFF), kind="stable")
    at, word = at[order], word[order]
    parts = np.array([((1 << width) - 1) << shift for shift, width in _parts(radius)], np.int64)
    masks, ends = flip_masks(radius)
    flips = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=0))
    others = (masks & parts[part]) == 0
    masks, flips = masks[others], flips[others]
    n = _pairs(at, word, band, part, parts, masks, flips, radius, np.empty((0, 2), np.int64))
    if n > most:
        return pa.table({"first": [TOO_MANY], "second": [TOO_MANY]}, schema=PAIRS)
    found = np.empty((n, 2), np.int64)
    _pairs(at, word, band, part, parts, masks, flips, radius, found)
    return pa.table({"first": found[:, 0], "second": found[:, 1]}, schema=PAIRS)


def join_pairs(
    hashes: Words,
    predecessor: npt.NDArray[np.int64],
    old_leader: npt.NDArray[np.int64],
    radius: int,
    pairs: pa.Table,
    verify: Verification | None = None,
    patience: int = PATIENCE,
) -> npt.NDArray[np.int64]:
    """Return what `hamming.join_leaders` returns, given the pairs that all partitions emit for these hashes."""
    layouts, vectors, least = kinds(verify)
    words, place = np.unique(hashes, return_inverse=True)
    first, second = (pairs[name].to_numpy() for name in PAIRS.names)
    # Each hash is a neighbour of itself: leaders whose layouts or vectors differ may have the same hash.
    own = np.arange(len(words))
    of, near = np.concatenate([own, first, second]), np.concatenate([own, second, first])
    order = np.argsort(of, kind="stable")
    start = np.concatenate([[0], np.cumsum(np.bincount(of, minlength=len(words)))])
    masks, _ = flip_masks(radius)
    turn = np.zeros(1 << BAND_BITS, np.int64)
    turn[masks] = np.arange(len(masks))
    return _join_pairs(
        words, place, start, near[order], predecessor, first_equal(hashes), len(old_leader), old_leader,
        radius, layouts, vectors, least, patience, turn,
        hashes, crosses_of(verify), verify.reach if verify else 0,
    )  # fmt: skip


def _parts(radius: int) -> list[tuple[int, int]]:
    """Return (first bit, number of bits used as partition key) of each part of a band."""
    n = radius // BANDS + 1
    width = BAND_BITS // n
    return [(part * width, min(width, _KEY_BITS)) for part in range(n)]


@numba.njit(cache=True)
def _pairs(at, word, band, part, parts, masks, flips, radius, found):  # type: ignore[no-untyped-def]
    """Count the pairs of a partition, and write them to `found`, shape (M, 2), as far as it has rows."""
    start = np.zeros((1 << BAND_BITS) + 1, np.int64)
    for i in range(len(word)):
        start[band_value(word[i], band) + 1] += 1
    for value in range(1 << BAND_BITS):
        start[value + 1] += start[value]
    n = 0
    for i in range(len(word)):
        own = band_value(word[i], band)
        for k in range(len(masks)):
            mask = masks[k]
            shared_before = False
            for other in range(part):
                shared_before |= (mask & parts[other]) == 0
            if shared_before:
                continue
            for j in range(start[own ^ mask], start[(own ^ mask) + 1]):
                if at[j] >= at[i] or distance_of(word[i], word[j]) > radius:
                    continue
                if is_first_meeting(word[i] ^ word[j], flips[k], band):
                    if n < len(found):
                        found[n, 0], found[n, 1] = at[i], at[j]
                    n += 1
    return n


@numba.njit(cache=True)
def _meetings(here, words, start, near, newest, before, radius, turn, keys):  # type: ignore[no-untyped-def]
    """Count the leaders that a search of the index would visit, and write their sort keys to `keys` if they fit.

    The high bits of a key are the order in which the search visits the bucket, the low 32 bits order the leaders in it,
    newest first.
    """
    n = 0
    for k in range(start[here], start[here + 1]):
        differing = words[here] ^ words[near[k]]
        for band in range(BANDS):
            mask = band_value(differing, band)
            bits = distance_of(np.uint64(mask), np.uint64(0))
            if bits > radius // BANDS or not searches(bits, band, radius):
                continue
            number = newest[near[k]]
            while number != NOT_FOUND:
                if n < len(keys):
                    bucket = (bits * BANDS + band) * (1 << BAND_BITS) + turn[mask]
                    keys[n] = (bucket << 32) | (_LOW - number)
                n += 1
                number = before[number]
    return n


@numba.njit(cache=True)
def _nearest_of_pairs(  # type: ignore[no-untyped-def]
    i, words, place, start, near, newest, before, leader_at, radius, layouts, vectors, least, patience, turn,
):  # fmt: skip
    """Return the number of the nearest leader among the pairs, visited in the order of the search of the index."""
    here = place[i]
    verified = len(layouts) + len(vectors) > 0
    n_met = _meetings(here, words, start, near, newest, before, radius, turn, np.empty(0, np.int64))
    keys = np.empty(n_met, np.int64)
    _meetings(here, words, start, near, newest, before, radius, turn, keys)
    keys.sort()
    best, best_distance = NOT_FOUND, radius + 1
    for m in range(len(keys)):
        turns = keys[m] >> 32
        bucket = turns >> BAND_BITS
        bits, band = bucket // BANDS, bucket % BANDS
        if best_distance <= BANDS * bits - 1 or (verified and m >= patience):
            break
        number = _LOW - (keys[m] & _LOW)
        differing = words[place[leader_at[number]]] ^ words[here]
        found = distance_of(differing, np.uint64(0))
        if found > best_distance or (found == best_distance and number >= best and best != NOT_FOUND):
            continue
        if is_first_meeting(differing, bits, band) and looks_agree(layouts, vectors, i, leader_at[number], least):
            best, best_distance = number, found
    return best


@numba.njit(cache=True)
def _join_pairs(  # type: ignore[no-untyped-def]
    words, place, start, near, predecessor, same_as, n_old, old_leader,
    radius, layouts, vectors, least, patience, turn, hashes, crosses, reach,
):  # fmt: skip
    n = len(place)
    leader = np.empty(n, np.int64)
    leader_at = np.empty(n, np.int64)
    newest = np.full(len(words), NOT_FOUND, np.int64)
    before = np.empty(n, np.int64)
    cross_start = make_room(crosses, same_as, n_old, old_leader, True) if len(crosses) else np.empty((0, 0), np.int64)
    cross_filled = np.zeros((BANDS if len(crosses) else 0, 1 << BAND_BITS), np.int64)
    cross_at = np.empty((BANDS, len(crosses)), np.uint64)
    cross_numbers = np.empty(cross_at.shape, np.int32)
    n_leaders = 0
    for i in range(n):
        here = place[i]
        if i < n_old:
            leader[i] = old_leader[i]
            if leader[i] != i:
                continue
        else:
            if same_as[i] != i and looks_agree(layouts, vectors, i, leader[same_as[i]], least):
                leader[i] = leader[same_as[i]]
                continue
            last = predecessor[i]
            close = last != NOT_FOUND and distance_of(words[place[leader[last]]], words[here]) <= radius
            if close and looks_agree(layouts, vectors, i, leader[last], least):
                leader[i] = leader[last]
                continue
            best = _nearest_of_pairs(
                i, words, place, start, near, newest, before, leader_at,
                radius, layouts, vectors, least, patience, turn,
            )  # fmt: skip
            if best == NOT_FOUND and len(crosses):
                best = nearest_but_for_a_corner(
                    i, crosses, hashes, reach, layouts, max(least, ALIKE), patience,
                    leader_at, cross_at, cross_numbers, cross_start, cross_filled,
                )  # fmt: skip
            if best != NOT_FOUND:
                leader[i] = leader_at[best]
                continue
            leader[i] = i
        if len(crosses):
            insert_leader(crosses[i], n_leaders, cross_at, cross_numbers, cross_start, cross_filled)
        leader_at[n_leaders] = i
        before[n_leaders] = newest[here]
        newest[here] = n_leaders
        n_leaders += 1
    return leader
