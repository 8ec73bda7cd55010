"""Groups of duplicates as a table stage: only frames that are in no group yet are grouped."""

from __future__ import annotations

from collections.abc import Collection

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

import schemas
from transforms.core.table_stage import WORKSPACE, TableInput, TableOutput
from transforms.curate.duplicates.grouping import INPUT, DuplicateParams, group_frames


def compute_duplicates(given: TableInput) -> TableOutput:
    """Return the rows of `duplicates` that are new, and the keys of those that go."""
    params: DuplicateParams = given.params["duplicates"]
    workspace = WORKSPACE in given.scopes
    hashed = _hashed(given, params, given.streams)
    old = given.before.read(None, None if workspace else given.streams)
    grouping = group_frames(hashed, old.slice(0, 0) if given.recompute else old, params, given.near_pairs)
    own = pc.is_in(grouping.added["stream_id"], pa.array(sorted(given.own)))
    n_rows = {WORKSPACE: hashed.num_rows} if workspace else _per_stream(hashed)
    removed = None if given.recompute else grouping.removed
    return TableOutput(grouping.added, pc.sum(own).as_py() or 0, removed, n_rows)


def _hashed(given: TableInput, params: DuplicateParams, streams: Collection[str]) -> pa.Table:
    """Return what frames are compared by; where that is vectors, those that have one."""
    seen = ("layout",) if params.uses == "layout" else ()
    hashed = given.above["fingerprints"].read((*schemas.FRAME_KEY, "input_id", "phash", *seen), streams)
    hashed = hashed.filter(pc.is_valid(hashed["phash"])).rename_columns([*INPUT.names, *seen])
    if params.uses != "vector":
        return hashed
    vectors = given.above["embeddings"].read((*schemas.FRAME_KEY, "vector"), streams)
    key = list(schemas.FRAME_KEY)
    mine, theirs = (pl.DataFrame(t.select(key)).with_row_index("at") for t in (hashed, vectors))
    both = mine.join(theirs, on=key).sort(key)
    of_both = vectors["vector"].take(both["at_right"].to_arrow())
    return hashed.take(both["at"].to_arrow()).append_column("vector", of_both)


def _per_stream(rows: pa.Table) -> dict[str, int]:
    return {c["values"]: c["counts"] for c in pc.value_counts(rows["stream_id"]).to_pylist()}
