"""Assignment of frames to dataset splits by hashed keys, independent of the other frames of an export."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from transforms.core.identity import hash_strings

_GOLDEN = (5**0.5 - 1) / 2


def assign_splits(keys: pa.ChunkedArray, fractions: Mapping[str, float], seed: int) -> pa.Array:
    """Return the split of every row; equal keys get the same split, now and in every later export.

    A hash of key and seed is a number in 0..1, and the splits divide that range in the given order by their fractions.
    The shares of rows therefore only approximate the fractions if there are many keys.
    """
    return splits_at(_place(keys, seed), fractions)


def assign_blocks(
    streams: pa.ChunkedArray, blocks: npt.NDArray[np.int64], fractions: Mapping[str, float], seed: int
) -> pa.Array:
    """Return the split of every row by its stream and the number of its block of time, shape (N,), int64.

    Blocks of a stream take the places of a golden rotation, which begins at the hash of the stream: any few consecutive
    blocks are spread over the splits nearly by their fractions, where hashes of few blocks would leave splits empty.
    The split of a block does not depend on how many others there are.
    """
    return splits_at(block_places(streams, blocks, seed), fractions)


def block_places(streams: pa.ChunkedArray, blocks: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.float64]:
    """Return for every block the place in 0..1 by which `assign_blocks` gives it a split, shape (N,)."""
    return (_place(streams, seed) + blocks * _GOLDEN) % 1.0


def splits_at(place: npt.NDArray[np.float64], fractions: Mapping[str, float]) -> pa.Array:
    """Return the split at each place in 0..1, shape (N,); the splits divide that range in order by their fractions."""
    names = list(fractions)
    cuts = np.cumsum([fractions[name] for name in names])[:-1]
    return pa.array(names, pa.string()).take(pa.array(np.searchsorted(cuts, place, "right")))


def _place(keys: pa.ChunkedArray, seed: int) -> npt.NDArray[np.float64]:
    return hash_strings(keys, seed).astype(np.float64) / 2.0**64


def joined_keys(units: pa.ChunkedArray, *links: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a key per row that is equal for rows of one unit, and of units that are connected by a link.

    `units` names what stays together anyway (a stream, a scene, a track), each of `links` a property that must not be
    on two sides (a duplicate group, a content hash; null for none). Keys depend on all the rows given: pass all frames,
    so that they do not depend on which frames are selected. Raises `ValueError` where a unit is null.
    """
    if units.null_count:
        raise ValueError(f"expected a unit (stream or scene) for every row, found {units.null_count} nulls")
    named = pl.Series("unit", units.to_pylist(), dtype=pl.String)
    root: dict[str, str] = {}

    def find(name: str) -> str:
        while root.setdefault(name, name) != name:
            root[name] = root[root[name]]
            name = root[name]
        return name

    for link in links:
        pairs = pl.DataFrame({"unit": named, "link": pl.Series(link.to_pylist(), dtype=pl.String)})
        shared = pairs.drop_nulls().unique().filter(pl.len().over("link") > 1).sort("link", "unit")
        first_of: dict[str, str] = {}
        for unit, value in shared.iter_rows():
            a, b = find(first_of.setdefault(value, unit)), find(unit)
            root[max(a, b)] = min(a, b)
    roots = {name: find(name) for name in root}
    return named.replace(roots).to_arrow().cast(pa.string())
