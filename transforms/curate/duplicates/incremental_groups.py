"""Groups of duplicates as a table stage: only frames that are in no group yet are grouped."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

import schemas
from transforms.core.table_stage import WORKSPACE, TableInput, TableOutput
from transforms.curate.duplicates.grouping import INPUT, DuplicateParams, group_frames
from transforms.curate.duplicates.standing_groups import concerned


def compute_duplicates(given: TableInput) -> TableOutput:
    """Return the rows of `duplicates` that are new, and the keys of those that go."""
    params: DuplicateParams = given.params["duplicates"]
    workspace = WORKSPACE in given.scopes
    if given.recompute or params.uses == "vector":
        hashed = _hashed(given, params, given.streams)
        old = given.before.read(None, None if workspace else given.streams)
        old = old.slice(0, 0) if given.recompute else old
        sizes: Mapping[str, int] = _per_stream(hashed)
    else:
        also = ("layout",) if params.uses == "layout" else ()
        within = None if workspace else given.streams
        hashed, old, sizes = concerned(given.above["fingerprints"], given.before, given.streams, within, also)
    grouping = group_frames(hashed, old, params, given.near_pairs)
    own = pc.is_in(grouping.added["stream_id"], pa.array(sorted(given.own), pa.string()))
    n_rows = {WORKSPACE: sum(sizes.values())} if workspace else sizes
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
