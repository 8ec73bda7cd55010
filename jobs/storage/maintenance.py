"""`winnow tables optimize` and `vacuum`: compaction, deletion of stale configurations and of unreferenced files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import polars as pl

import schemas
from jobs.core.job_states import ACTIVE
from jobs.storage import image_files, paths
from jobs.storage.data_files import Part, write_part
from jobs.storage.file_pruning import DataFile
from jobs.storage.merge import rows_in_order
from jobs.storage.path_interface import TEMPORARY
from jobs.storage.spare_files import clear
from jobs.storage.store import Change, ConflictError, Drop, Snapshot, Store

_SMALL_BYTES = 16 << 20
_BIN_BYTES = 32 << 20
_TRIES = 5
KEPT_RUNS = 20
"""Number of last runs that can be read at their own versions."""


@dataclass
class TableChange:
    """What maintenance did to a table."""

    table: str
    files_before: int = 0
    files_after: int = 0
    stale_keys: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)


def compact(store: Store, table: schemas.Table, job_id: str, more_than: int = 1) -> TableChange:
    """Merge small files of each stage key, sorted, if there are more than so many; rows do not change.

    Gives way to other writers: if they keep committing, the files stay as they are.
    """
    files = (store.seen(table) or store.open(table)).files
    result = TableChange(table.name, len(files), len(files))
    if not list(_bins(files, more_than)):
        return result
    for attempt in range(_TRIES):
        snapshot = store.open(table)
        result.files_before = result.files_before if attempt else len(snapshot.files)
        result.files_after = len(snapshot.files)
        retire, parts = [], []
        for files in _bins(snapshot.files, more_than):
            retire += files
            parts.append(_merged(store, table, files))
        if not retire:
            break
        try:
            result.files_after = len(snapshot.commit(Change(add=parts, retire=retire), job_id).files)
            break
        except ConflictError:
            continue
    return result


def _bins(files: Sequence[DataFile], more_than: int) -> Iterator[list[DataFile]]:
    by_key: dict[str | None, list[DataFile]] = {}
    for file in files:
        if file.size_bytes < _SMALL_BYTES:
            by_key.setdefault(file.stage_key, []).append(file)
    for small in by_key.values():
        if len(small) <= more_than:
            continue
        small.sort(key=lambda f: (f.low_stream or "", f.low_idx or 0))
        held: list[DataFile] = []
        for file in small:
            if held and sum(f.size_bytes for f in held) + file.size_bytes > _BIN_BYTES:
                if len(held) > 1:
                    yield held
                held = []
            held.append(file)
        if len(held) > 1:
            yield held


def _merged(store: Store, table: schemas.Table, files: Sequence[DataFile]) -> Part:
    """Write the rows of files, which are sorted by their lowest keys, as one sorted file."""
    partition = {"stage_key": files[0].stage_key} if files[0].stage_key is not None else {}
    return write_part(store.root, table, rows_in_order(store.root / table.name, table, files), partition)


def vacuum(store: Store, job_id: str, retention_hours: int = 24, dry_run: bool = False) -> list[TableChange]:
    """Drop stale configurations, then delete files that no readable version refers to.

    What the heads, the releases and the last `KEPT_RUNS` runs refer to stays, at the versions that they recorded; so
    does every file younger than `retention_hours`, since a run in progress may be about to commit it.
    """
    # All of them, before anything is deleted: each is compared with what was written to it.
    for table in schemas.ALL:
        store.open(table)
    live = _live_keys(store)
    keep = kept_versions(store)
    if not dry_run:
        _clear_spare_files(store)
    changes = []
    for table in schemas.ALL:
        snapshot = store.open(table)
        change = TableChange(table.name, len(snapshot.files), len(snapshot.files))
        change.stale_keys = sorted(snapshot.stage_keys() - live)
        if change.stale_keys and not dry_run:
            without = Change(drop=[Drop(stage_key=key) for key in change.stale_keys])
            snapshot = store.transact(table, partial(_always, without), job_id)
            change.files_after = len(snapshot.files)
        # Names contain hashes: a file that was referred to long ago may just have been written again, and be about to
        # be committed.
        strays = snapshot.unreferenced(keep.get(table.name, ()), retention_hours)
        change.deleted = paths.delete_older(store.root / table.name, strays, retention_hours, dry_run)
        if table is schemas.MEDIA:
            strays = _stray_images(store, keep.get(table.name, set()))
            change.deleted += paths.delete_older(store.root, strays, retention_hours, dry_run)
        changes.append(change)
    return changes


def _clear_spare_files(store: Store) -> None:
    """Delete what dead processes were writing into folders that hold files of several kinds, whose strays stay."""
    for folder in (store.root, *(store.root / table.name for table in schemas.ALL)):
        if (at := folder.on_disk()) is not None:
            clear(at, None, TEMPORARY)


def _stray_images(store: Store, versions: set[int]) -> list[str]:
    """Return the images that no row of these versions names, nor the newest one."""
    named = images_of([store, *(Store(store.root, {schemas.MEDIA.name: number}) for number in versions)])
    return image_files.unreferenced(store.root, named)


def images_of(stores: Iterable[Store]) -> set[str]:
    """Return the images, below the workspace, that rows of `media` name in any of these states of it."""
    found: set[str] = set()
    for store in stores:
        names = store.open(schemas.MEDIA).lazy().select(pl.col("picture").drop_nulls().unique())
        found.update(names.collect()["picture"])
    return found


def _always(change: Change, _: Snapshot) -> Change:
    return change


def _live_keys(store: Store) -> set[str]:
    """Return the stage keys that heads, running runs or the last runs use; also those that were cut short."""
    stages = store.read(schemas.STAGE_RUNS, ("job_id", "stage_key")).to_pylist()
    recent = set(_recent_runs(store))
    heads = store.read(schemas.HEADS, ("stage_key",))["stage_key"].to_pylist()
    return set(heads) | {r["stage_key"] for r in stages if r["job_id"] in recent}


def _recent_runs(store: Store) -> list[str]:
    rows = store.read(schemas.RUNS, ("job_id", "state")).to_pylist()
    unfinished = [r["job_id"] for r in rows if r["state"] in ACTIVE]
    ended = sorted(r["job_id"] for r in rows if r["state"] not in ACTIVE)
    done = sorted(r["job_id"] for r in rows if r["state"] == "done")
    # The next run continues from what a run had committed when it failed or was stopped.
    return [*unfinished, *{*done[-KEPT_RUNS:], *ended[-KEPT_RUNS:]}]


def kept_versions(store: Store) -> dict[str, set[int]]:
    """Return the versions of each table, by its name, whose files vacuum keeps besides those of the newest one."""
    kept: dict[str, set[int]] = {}

    def keep(versions: Iterable[tuple[str, int]]) -> None:
        for name, number in versions:
            kept.setdefault(name, set()).add(number)

    for row in store.read(schemas.RELEASES, ("manifest",)).to_pylist():
        keep(json.loads(row["manifest"])["tables"].items())
    recent = set(_recent_runs(store))
    for row in store.read(schemas.RUNS, ("job_id", "versions")).to_pylist():
        if row["job_id"] in recent and row["versions"]:
            keep(json.loads(row["versions"]).items())
    return kept
