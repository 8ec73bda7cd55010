"""Statistics of streams from their measured frames: corrupt ones, and sizes of images."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl
import pyarrow as pa

import schemas
from jobs.storage.store import Store


def note(store: Store, stage_key: str, streams: Iterable[str], job_id: str) -> int | None:
    """Write frames that do not decode, and image sizes, into the rows of streams; return how many do not decode.

    Returns None if no frame was read yet.
    """
    names = frozenset(streams)
    snapshot = store.open(schemas.FRAMES)
    columns = ("stream_id", "status", "width", "height")
    group = ["stream_id", "status", "width", "height"]
    counted = [
        pl.DataFrame(pa.Table.from_batches([batch])).group_by(group).len()
        for batch in snapshot.batches(columns, stage_key, names)
    ]
    if not counted:
        return None
    sizes = pl.concat(counted).group_by(group).agg(pl.col("len").sum()).sort("len", "width", descending=True)
    found: dict[str, dict[str, Any]] = {name: {"n_bad": 0, "sizes": []} for name in names}
    for row in sizes.iter_rows(named=True):
        entry = found[row["stream_id"]]
        if row["status"] != "ok":
            entry["n_bad"] += row["len"]
        else:
            entry["sizes"].append({"width": row["width"], "height": row["height"], "n_frames": row["len"]})
    known = store.read(schemas.STREAMS).to_pylist()
    changed = [
        row | found[row["stream_id"]]
        for row in known
        if row["stream_id"] in found and row | found[row["stream_id"]] != row
    ]
    if changed:
        rows = pa.Table.from_pylist(changed, schemas.STREAMS.arrow_schema)
        store.upsert(schemas.STREAMS, rows, job_id)
    return sum(entry["n_bad"] for entry in found.values())
