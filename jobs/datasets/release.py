"""Releases: named, fixed versions of the tables, which exports use and which runs and clean-ups preserve."""

from __future__ import annotations

import json
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from itertools import count
from typing import Any

import polars as pl
import pyarrow as pa

import schemas
from jobs.core.errors import UserError
from jobs.core.naming import many, wrong_with
from jobs.storage.data_files import write_part
from jobs.storage.store import Change, Drop, Snapshot, Store
from jobs.views import snapshot_spec
from jobs.views.view import View


def create(
    store: Store,
    name: str,
    run: str | None = None,
    note: str | None = None,
    streams: Collection[str] | None = None,
) -> dict[str, Any]:
    """Create a release of the current heads, or of a run's final versions; return its manifest.

    `streams` are those to release, None for all; verdicts stay what they are, also those on duplicates of frames in
    other streams. Raises `UserError` for a name that exists or is invalid, for unknown streams, and if there is nothing
    to release.
    """
    if wrong := wrong_with("release", name):
        raise UserError(wrong)
    chosen = snapshot_spec.of_run(store, run) if run else snapshot_spec.pinned(store)
    if not chosen.streams:
        raise UserError("there is nothing to release yet: no run has finished in this workspace")
    if streams is not None and not streams:
        raise UserError("--streams: expected names of streams, found none")
    if streams is not None:
        chosen = chosen.only(streams)
    job_id = snapshot_spec.find_run(store, run)["job_id"] if run else _head_run(store)
    manifest = chosen.manifest()
    row = {"name": name, "manifest": json.dumps(manifest), "note": note, "job_id": job_id, "created_ns": time.time_ns()}
    rows = pa.Table.from_pylist([row], schemas.RELEASES.arrow_schema)

    def change(snapshot: Snapshot) -> Change:
        if name in snapshot.read(["name"])["name"].to_pylist():
            raise UserError(f"release {name!r} exists; releases never change, choose another name")
        return Change([write_part(store.root, schemas.RELEASES, rows)])

    store.create_tables([schemas.RELEASES])
    store.transact(schemas.RELEASES, change, job_id)
    return manifest


def free_name(store: Store) -> str:
    """Return a name that no release has: v1, or the next number."""
    taken = set(store.read(schemas.RELEASES, ("name",))["name"].to_pylist())
    return next(name for number in count(1) if (name := f"v{number}") not in taken)


def references(store: Store, name: str) -> list[str]:
    """Return a line for all that refers to a release and stays when it is deleted. Raises `UserError` if unknown."""
    snapshot_spec.find_release(store, name)
    found = []
    given = store.read(schemas.SPLITS, ("release",))["release"].to_pylist().count(name)
    if given:
        found.append(f"{many(given, 'frame', 'have')} their splits from an export of it, and keep them")
    models = store.read(schemas.MODELS, ("name", "release"))
    found += [
        f"model {row['name']} was trained on an export of it, which cannot be made again"
        for row in models.to_pylist()
        if row["release"] == name
    ]
    return found


def delete(store: Store, name: str) -> None:
    """Delete a release. Raises `UserError` for an unknown one.

    Splits, selections, models and exports stay. Rows and files that only this release showed stay until a vacuum finds
    that no release and no recent run needs them.
    """
    snapshot_spec.find_release(store, name)
    keys = pa.table({"name": pa.array([name], schemas.RELEASES.arrow_schema.field("name").type)})
    store.upsert(schemas.RELEASES, schemas.RELEASES.empty(), "release-delete", Drop(keys=keys))


def _head_run(store: Store) -> str:
    return str(max(store.read(schemas.HEADS, ("job_id",))["job_id"].to_pylist()))


@dataclass
class ReleaseDiff:
    """How the frames of one view differ from those of another."""

    added: int = 0
    gone: int = 0
    changed: int = 0
    newly_kept: int = 0
    newly_dropped: int = 0
    kept_before: int = 0
    kept_after: int = 0
    newly_dropped_for: dict[str, int] = field(default_factory=dict)

    def values(self) -> dict[str, Any]:
        """Return the difference as plain values."""
        return asdict(self)


def difference(before: View, after: View) -> ReleaseDiff:
    """Compare the frames and verdicts of two views."""
    key = schemas.FRAME_KEY
    old, new = (verdicts_of(view) for view in (before, after))
    both = old.join(new, on=key, suffix="_new")
    dropped = both.filter(pl.col("keep") & ~pl.col("keep_new"))
    reasons = dropped.explode("reasons_new").group_by("reasons_new").len().sort("reasons_new")
    return ReleaseDiff(
        added=new.join(old, on=key, how="anti").height,
        gone=old.join(new, on=key, how="anti").height,
        changed=both.filter(pl.col("content_hash") != pl.col("content_hash_new")).height,
        newly_kept=both.filter(~pl.col("keep") & pl.col("keep_new")).height,
        newly_dropped=dropped.height,
        kept_before=int(old["keep"].sum()),
        kept_after=int(new["keep"].sum()),
        newly_dropped_for=dict(reasons.iter_rows()),
    )


def verdicts_of(view: View) -> pl.DataFrame:
    """Return the frames of a view with their content hashes, and whether they are kept, and why not."""
    columns = [*schemas.FRAME_KEY, "content_hash", "keep", "reasons"]
    return view.lazy("curated").select(columns).with_columns(pl.col("keep").fill_null(False)).collect()
