"""Nearest-representative search among embedding vectors: groups by content instead of by pixels.

Up to `FLAT` representatives the search is exhaustive and exact; beyond that it is approximate, by an inverted file: the
representatives are assigned to the cells of a coarse quantiser, and a query searches the nearest cells (Jégou, Douze
and Schmid 2011, "Product quantization for nearest neighbor search", section V). The cells are trained on the
representatives at that time, with a fixed seed.
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from transforms.core.identity import Int64Array
from transforms.curate.duplicates.vector_index import NOT_FOUND, NearestIndex
from transforms.models.embeddings import Vectors

FLAT = 1 << 16
_CHUNK = 2048


def join_nearest(
    vectors: Vectors, predecessor: Int64Array, old_leader: Int64Array, least: float, flat: int = FLAT
) -> Int64Array:
    """Assign every vector a leader whose cosine to it is `least` or more.

    `vectors` has shape (N, D), of length 1; the first len(old_leader) of them have a leader already, which stays. The
    others are taken in order: each joins the leader of its `predecessor` (a position before its own, or -1), else the
    nearest leader of all (the earliest of several), else it becomes one itself. Returns positions, shape (N,); a
    leader's is its own. Beyond `flat` leaders the search is approximate and may miss one.
    """
    n, n_old = len(vectors), len(old_leader)
    leader = np.full(n, NOT_FOUND, np.int64)
    leader[:n_old] = old_leader
    index = NearestIndex(vectors, flat)
    index.add(np.flatnonzero(leader[:n_old] == np.arange(n_old)))
    for start in range(n_old, n, _CHUNK):
        chunk = vectors[start : start + _CHUNK]
        nearest, cosine = index.nearest(chunk)
        led = leader[np.maximum(predecessor[start : start + len(chunk)], 0)]
        # Predecessors in this chunk have no known leader yet; `_resolve` looks them up.
        early = (predecessor[start : start + len(chunk)] >= 0) & (led >= 0)
        to_leader = np.where(early, np.einsum("ij,ij->i", chunk, vectors[np.maximum(led, 0)]), -2).astype(np.float32)
        _resolve(start, chunk @ chunk.T, vectors, predecessor, leader, to_leader, nearest, cosine, least)
        index.add(start + np.flatnonzero(leader[start : start + len(chunk)] == np.arange(start, start + len(chunk))))
    return leader


def cosines(vectors: Vectors, first: Int64Array, second: Int64Array) -> npt.NDArray[np.float32]:
    """Return the cosine of the vectors at these positions, (M,) float32, -1..1."""
    found = np.empty(len(first), np.float32)
    for at in range(0, len(first), _CHUNK):
        one, other = vectors[first[at : at + _CHUNK]], vectors[second[at : at + _CHUNK]]
        found[at : at + _CHUNK] = np.einsum("ij,ij->i", one, other)
    return np.clip(found, -1, 1)


@numba.njit(cache=True)
def _dot(a, b):  # type: ignore[no-untyped-def]
    total = np.float32(0)
    for i in range(len(a)):
        total += a[i] * b[i]
    return total


@numba.njit(cache=True)
def _resolve(  # type: ignore[no-untyped-def]
    start, among, vectors, predecessor, leader, to_leader, nearest, cosine, least
):
    """Write the leaders of a chunk of n vectors to `leader`, in order; `among`, (n, n), holds their mutual cosines."""
    fresh = np.empty(len(among), np.int64)
    n_fresh = 0
    for i in range(len(among)):
        at = start + i
        before = predecessor[at]
        if before >= start:
            first = leader[before]
            near = among[i, first - start] if first >= start else _dot(vectors[at], vectors[first])
        else:
            near = to_leader[i]
        if before != NOT_FOUND and near >= least:
            leader[at] = leader[before]
            continue
        best, found = cosine[i], nearest[i]
        for k in range(n_fresh):
            if among[i, fresh[k]] > best:
                best, found = among[i, fresh[k]], start + fresh[k]
        if found != NOT_FOUND and best >= least:
            leader[at] = found
            continue
        leader[at] = at
        fresh[n_fresh] = i
        n_fresh += 1
