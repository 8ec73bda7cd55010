"""Assignment of frames to dataset splits by hashed keys, independent of the other frames of an export."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.core.identity import hash_strings


def assign_splits(keys: pa.ChunkedArray, fractions: Mapping[str, float], seed: int) -> pa.Array:
    """Return the split of every row; equal keys get the same split, now and in every later export.

    A hash of key and seed is a number in 0..1, and the splits divide that range in the given order by their fractions.
    The shares of rows therefore only approximate the fractions if there are many keys.
    """
    place = hash_strings(keys, seed).astype(np.float64) / 2.0**64
    names = list(fractions)
    cuts = np.cumsum([fractions[name] for name in names])[:-1]
    return pa.array(names).take(pa.array(np.searchsorted(cuts, place, "right")))


def joined_keys(units: pa.ChunkedArray, groups: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a key per row that is equal for rows of one unit, and of units connected by a duplicate group.

    `units` names the stream or the scene of each row, `groups` its duplicate group (null for none). Without joining
    such units, a split by streams or scenes would put near duplicates on both sides. Keys depend on all the rows given:
    pass all frames, so that they do not depend on which frames are selected. Raises `ValueError` where a unit is null.
    """
    if units.null_count:
        raise ValueError(f"expected a unit (stream or scene) for every row, found {units.null_count} nulls")
    frames = pl.DataFrame({"unit": pl.Series(units.to_pylist(), dtype=pl.String), "group_id": groups.to_pylist()})
    pairs = frames.drop_nulls().unique()
    shared = pairs.filter(pl.len().over("group_id") > 1).sort("group_id", "unit")
    root: dict[str, str] = {}

    def find(name: str) -> str:
        while root.setdefault(name, name) != name:
            root[name] = root[root[name]]
            name = root[name]
        return name

    first_of: dict[str, str] = {}
    for unit, group in shared.iter_rows():
        a, b = find(first_of.setdefault(group, unit)), find(unit)
        root[max(a, b)] = min(a, b)
    roots = {name: find(name) for name in root}
    return frames["unit"].replace(roots).to_arrow().cast(pa.string())
