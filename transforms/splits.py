"""Which split a frame belongs to. Depends on what the frame is, never on the other frames that are exported with it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.identity import hash_strings


def assign_splits(keys: pa.ChunkedArray, fractions: Mapping[str, float], seed: int) -> pa.Array:
    """Return the split of every row; rows with equal keys get the same one, today and in every later export.

    A hash of key and seed is a number 0..1, and the splits cut that range in the order given, by their fractions.
    Shares therefore come near the fractions only for many keys.
    """
    place = hash_strings(keys, seed).astype(np.float64) / 2.0**64
    names = list(fractions)
    cuts = np.cumsum([fractions[name] for name in names])[:-1]
    return pa.array(names).take(pa.array(np.searchsorted(cuts, place, "right")))


def stream_keys(rows: pa.Table) -> pa.ChunkedArray:
    """Return a key per row that is equal for rows of one stream, and of streams that share a group of duplicates.

    `rows` has `stream_id` and `group_id` (null for none). Without joining such streams, a stream-wise split would put
    look-alikes on both sides.
    """
    frames = pl.DataFrame(rows.select(["stream_id", "group_id"]))
    pairs = frames.drop_nulls().unique()
    shared = pairs.filter(pl.len().over("group_id") > 1).sort("group_id", "stream_id")
    root: dict[str, str] = {}

    def find(name: str) -> str:
        while root.setdefault(name, name) != name:
            root[name] = root[root[name]]
            name = root[name]
        return name

    first_of: dict[str, str] = {}
    for stream, group in shared.iter_rows():
        a, b = find(first_of.setdefault(group, stream)), find(stream)
        root[max(a, b)] = min(a, b)
    roots = {name: find(name) for name in root}
    return frames["stream_id"].replace(roots).to_arrow().cast(pa.string())
