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

import numpy as np
import numpy.typing as npt

from transforms.core.identity import first_equal
from transforms.curate.duplicates.corner_overlay import ALIKE, SLACK, are_alike, cross_words
from transforms.curate.duplicates.layout_correlation import agreements_of
from transforms.curate.duplicates.leader_search import Compared, Search, join_in_blocks
from transforms.metrics.hashing import LAYOUT_SIDE

PATIENCE = 1 << 12
"""Maximum number of leaders within the radius that a verified query visits."""


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
    known = Compared(hashes, crosses_of(verify), layouts, vectors, first_equal(hashes), predecessor)
    return join_in_blocks(known, old_leader, Search(radius, least, verify.reach if verify else 0, patience))


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
