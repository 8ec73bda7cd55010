"""Which split a frame belongs to. Depends on what the frame is, never on the other frames that are exported with it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.core.identity import hash_strings


def assign_splits(keys: pa.ChunkedArray, fractions: Mapping[str, float], seed: int) -> pa.Array:
    """Return the split of every row; rows with equal keys get the same one, today and in every later export.

    A hash of key and seed is a number 0..1, and the splits cut that range in the order given, by their fractions.
    Shares therefore come near the fractions only for many keys.
    """
    place = hash_strings(keys, seed).astype(np.float64) / 2.0**64
    names = list(fractions)
    cuts = np.cumsum([fractions[name] for name in names])[:-1]
    return pa.array(names).take(pa.array(np.searchsorted(cuts, place, "right")))


def joined_keys(units: pa.ChunkedArray, groups: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a key per row that is equal for rows of one unit, and of units that share a group of duplicates.

    `units` names the stream or the scene of each row, `groups` its group of duplicates (null for none). Without joining
    such units, a split by streams or scenes would put look-alikes on both sides. Keys are those of the rows given:
    give all frames there are, so that they do not depend on which of them are wanted. Raises `ValueError` where a unit
    is null.
    """
    if units.null_count:
        raise ValueError(f"{units.null_count} rows are of no unit")
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
