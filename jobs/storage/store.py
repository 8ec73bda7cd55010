"""The Delta tables of a workspace: read at a version, changed in one transaction, fenced against other writers.

The only module that knows deltalake. A change is made from the snapshot it was planned on and fails if another writer
committed meanwhile; then the caller looks again at what is left to do.
"""

from __future__ import annotations

import json
import random
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, TypeVar

import polars as pl
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.fs as pafs
from deltalake import CommitProperties, DeltaTable
from deltalake import Schema as DeltaSchema
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.fs import DeltaStorageHandler
from deltalake.transaction import AddAction, RemoveAction

import schemas
from jobs.errors import BrokenTableError
from jobs.storage import places
from jobs.storage.changes import Change, ConflictError, Drop, Reach, survivors, without_unchanged
from jobs.storage.filters import DataFile, Span, row_filter
from jobs.storage.parts import Part, now_ms, statistics_json, write_part
from jobs.storage.places import ObjectPath, Place
from transforms import buckets

__all__ = ["Change", "ConflictError", "DataFile", "Drop", "Snapshot", "Store"]

T = TypeVar("T")

_UPSERT_TRIES = 60
_CONFIGURATION: Mapping[str, str | None] = {
    # A checkpoint must not delete the log that releases are read through.
    "delta.enableExpiredLogCleanup": "false",
    "delta.checkpointInterval": "50",
    "delta.dataSkippingStatsColumns": "stream_id,frame_idx",
}


def _asked(at: Place, call: Callable[[], T]) -> T:
    """Return what a call gives; what is wrong with an object store is raised as the line that it comes down to."""
    try:
        return call()
    except (CommitFailedError, TableNotFoundError):
        raise
    except (DeltaError, OSError) as error:
        if not isinstance(at, ObjectPath):
            raise
        raise buckets.as_os_error(error, at.uri) from error


def _patiently(at: Place, call: Callable[[], T]) -> T:
    """Return what a call gives, which may be made several times."""
    return buckets.patiently(lambda: _asked(at, call))


def _delta_at(at: Place, version: int | None = None) -> DeltaTable:
    try:
        return _patiently(at, lambda: DeltaTable(str(at), version=version, storage_options=_options(at)))
    except TableNotFoundError:
        raise
    except DeltaError as error:
        raise BrokenTableError(_what_is_broken(at, error)) from error


def _what_is_broken(at: Place, error: DeltaError) -> str:
    """Say what is wrong with a table that cannot be read, without the library's trace, and what mends it."""
    reason = str(error).partition("\n")[0].removeprefix("Kernel error: ").rstrip(".")
    computed = any(table.name == at.name and table.has_stage_key for table in schemas.ALL)
    anew = ""
    if computed:
        # A new table has other rows at the versions that a release names.
        anew = ", or, if no release is needed any more, move that folder away and run again, which computes it anew"
    return f"table {at.name} cannot be read: {reason} (its log is {at}/_delta_log); bring it back from a backup{anew}"


def _create(at: Place, table: schemas.Table) -> None:
    DeltaTable.create(
        str(at),
        schema=DeltaSchema.from_arrow(table.arrow_schema),
        mode="ignore",
        partition_by=list(table.partition_by),
        description=table.doc,
        configuration=_CONFIGURATION,
        storage_options=_options(at),
    )


def _options(at: Place) -> dict[str, str] | None:
    return buckets.table_options() if isinstance(at, ObjectPath) else None


class Store:
    """The tables of one workspace, at their newest versions or at given ones."""

    def __init__(self, root: Place, versions: Mapping[str, int] | None = None) -> None:
        self.root = root
        self._versions = versions
        self._peeked: dict[str, Snapshot] = {}

    def create_tables(self) -> None:
        """Create the tables that are not there yet, and add the columns that an older version did not know."""
        for table in schemas.ALL:
            if not self._has_version(table, 0):
                _patiently(self.root / table.name, partial(_create, self.root / table.name, table))
            self._add_columns(table)

    def _add_columns(self, table: schemas.Table) -> None:
        if not self.peek(table).later:
            return
        delta = _delta_at(self.root / table.name)
        known = {field.name for field in delta.schema().fields}
        # Rows of before have nothing in a new column, whatever it demands of later ones.
        fresh = [c for c in table.arrow_schema if c.name not in known]
        if fresh:
            nullable = DeltaSchema.from_arrow(pa.schema([c.with_nullable(True) for c in fresh]))
            delta.alter.add_columns(list(nullable.fields))

    def open(self, table: schemas.Table) -> Snapshot:
        """Return the table as it is now, or as it was at the store's version; empty if it does not exist."""
        version = None if self._versions is None else self._versions.get(table.name)
        if self._versions is not None and version is None:
            return Snapshot(self.root, table, None)
        try:
            return Snapshot(self.root, table, _delta_at(self.root / table.name, version))
        except TableNotFoundError:
            return Snapshot(self.root, table, None)

    def peek(self, table: schemas.Table) -> Snapshot:
        """Return the same as `open`, to be read and not to be committed to: it is kept for as long as nobody does."""
        kept = self._peeked.get(table.name)
        if kept is None or (self._versions is None and self._has_version(table, kept.version + 1)):
            kept = self._peeked[table.name] = self.open(table)
        return kept

    def _has_version(self, table: schemas.Table, version: int) -> bool:
        return places.exists(log_entry(self.root / table.name, version))

    def read(self, table: schemas.Table, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the whole of a small table."""
        return self.peek(table).read(columns)

    def upsert(self, table: schemas.Table, rows: pa.Table, job_id: str, replacing: Drop | None = None) -> None:
        """Write rows in place of those with the same keys (or of `replacing`), whoever else is writing."""
        keys = rows.select(list(table.file_key))

        def change(_: Snapshot) -> Change:
            partition = {name: rows[name][0].as_py() for name in table.partition_by if rows.num_rows}
            fresh = rows.drop_columns(list(table.partition_by))
            parts = [write_part(self.root, table, fresh, partition)] if rows.num_rows else []
            return Change(parts, [replacing or Drop(keys=keys)])

        self.transact(table, change, job_id)

    def transact(self, table: schemas.Table, change: Callable[[Snapshot], Change | None], job_id: str) -> Snapshot:
        """Commit what `change` makes of the newest snapshot, again and again until nobody was faster."""
        for attempt in range(_UPSERT_TRIES):
            snapshot = self.open(table)
            wanted = change(snapshot)
            if wanted is None:
                return snapshot
            try:
                return snapshot.commit(wanted, job_id)
            except ConflictError:
                time.sleep(random.uniform(0, min(1.0, 0.01 * 2**attempt)))
        raise ConflictError(f"table {table.name} was being written by others {_UPSERT_TRIES} times in a row")


class Snapshot:
    """A table at one version."""

    def __init__(self, root: Place, table: schemas.Table, delta: DeltaTable | None) -> None:
        self.root = root
        self.table = table
        self._delta = delta

    @property
    def version(self) -> int:
        """Return the version, or -1 where the table does not exist."""
        return -1 if self._delta is None else self._delta.version()

    @cached_property
    def files(self) -> list[DataFile]:
        """Return the files that make up this version."""
        if self._delta is None:
            return []
        actions = pa.table(self._delta.get_add_actions(flatten=True))
        bounds = ("min.stream_id", "max.stream_id", "min.frame_idx", "max.frame_idx")
        wanted = ("path", "size_bytes", "num_records", "partition.stage_key", *bounds)
        absent = [None] * actions.num_rows
        columns = [actions[n].to_pylist() if n in actions.column_names else absent for n in wanted]
        return [DataFile(*values) for values in zip(*columns, strict=True)]

    @property
    def n_rows(self) -> int:
        """Return the number of rows, of all stage keys."""
        return sum(f.n_rows for f in self.files)

    def stage_keys(self) -> set[str]:
        """Return the stage keys that have rows."""
        return {f.stage_key for f in self.files if f.stage_key is not None}

    def read(
        self,
        columns: Sequence[str] | None = None,
        stage_key: str | None = None,
        streams: frozenset[str] | None = None,
        span: Span = (None, None),
    ) -> pa.Table:
        """Return rows, in no order.

        `stage_key` must be given for tables that have one; `streams` and `span` (first frame number, and the one after
        the last) narrow the rows and the files that are read.
        """
        names = list(columns or self.table.arrow_schema.names)
        stored = [n for n in names if n not in self.table.partition_by]
        dataset = self._dataset_of(stage_key, streams, span)
        wanted = row_filter(self.table, streams, span)
        rows = _patiently(self.root, lambda: dataset.to_table(columns=stored, filter=wanted))
        for name in names:
            if name in self.table.partition_by:
                rows = rows.append_column(name, pa.repeat(pa.scalar(stage_key, pa.string()), rows.num_rows))
        return rows.select(names)

    def batches(
        self, columns: Sequence[str], stage_key: str, streams: frozenset[str] | None
    ) -> Iterator[pa.RecordBatch]:
        """Yield rows of a stage key batch by batch, in no order, for what need not be held in memory."""
        dataset = self._dataset_of(stage_key, streams, (None, None))
        yield from dataset.to_batches(columns=list(columns), filter=row_filter(self.table, streams, (None, None)))

    def count(self, stage_key: str, streams: frozenset[str], not_null: str | None = None) -> int:
        """Return the number of rows of streams under a stage key; of those that have a value in a column, if given."""
        dataset = self._dataset_of(stage_key, streams, (None, None))
        wanted = pads.field("stream_id").isin(sorted(streams))
        return dataset.count_rows(filter=wanted if not_null is None else wanted & pads.field(not_null).is_valid())

    def _dataset_of(self, stage_key: str | None, streams: frozenset[str] | None, span: Span) -> pads.Dataset:
        chosen = [f for f in self.files if self._in_partition(f, stage_key) and f.may_hold(streams, span)]
        if not chosen:
            return pads.dataset(self.table.file_schema.empty_table())
        at = self.root / self.table.name
        if isinstance(at, ObjectPath):
            handler = DeltaStorageHandler(at.uri, _options(at), {f.path: f.size_bytes for f in chosen})
            return pads.dataset(
                [f.path for f in chosen],
                schema=self.table.file_schema,
                format="parquet",
                filesystem=pafs.PyFileSystem(handler),
            )
        paths = [str(at / f.path) for f in chosen]
        return pads.dataset(paths, schema=self.table.file_schema, format="parquet")

    def _in_partition(self, file: DataFile, stage_key: str | None) -> bool:
        if not self.table.has_stage_key:
            return True
        assert stage_key is not None, f"{self.table.name} has rows of several stage keys"
        return file.stage_key == stage_key

    def lazy(self) -> pl.LazyFrame:
        """Return all rows as a Polars lazy frame."""
        if self._delta is None:
            return pl.LazyFrame(schema=pl.Schema(self.table.arrow_schema))
        if isinstance(self.root, ObjectPath):
            # Polars would bring a third client of the object store, with credentials and errors of its own.
            return pl.scan_pyarrow_dataset(self.dataset())
        types = pl.Schema(self.table.arrow_schema)
        later = [pl.lit(None, types[name]).alias(name) for name in self.later]
        return pl.scan_delta(self._delta).with_columns(later)

    def dataset(self) -> pads.Dataset:
        """Return all rows as an Arrow dataset."""
        if self._delta is None:
            return pads.dataset(self.table.empty())
        dataset = self._delta.to_pyarrow_dataset()
        later = [self.table.arrow_schema.field(name).with_nullable(True) for name in self.later]
        return dataset.replace_schema(pa.schema([*dataset.schema, *later])) if later else dataset

    @property
    def later(self) -> list[str]:
        """Return the columns that were declared after this version of the table was written; they are null in it."""
        there = {field.name for field in self._delta.schema().fields} if self._delta is not None else set()
        return [name for name in self.table.arrow_schema.names if name not in there]

    def commit(self, change: Change, job_id: str) -> Snapshot:
        """Make a change in one transaction and return the table after it.

        Raises `ConflictError` if the table has moved on since this snapshot was taken.
        """
        table = self.root / self.table.name
        # Nothing is written back that somebody has deleted.
        if self._delta is None or not (isinstance(table, ObjectPath) or places.exists(log_entry(table, self.version))):
            raise FileNotFoundError(f"table {self.table.name} is not there any more: {table}")
        retired = list(change.retire)
        added = list(change.add)
        gone = {f.path for f in retired}
        reaches = [Reach.of(drop) for drop in change.drop]
        for file in self.files:
            # All at once: what one of them leaves of a file is not among the files that the next one looks at.
            drops = [reach.drop for reach in reaches if reach.may_touch(file)] if file.path not in gone else []
            stay = survivors(self.root / self.table.name, self.table, file, drops) if drops else None
            if stay is None:
                continue
            retired.append(file)
            if stay.num_rows:
                partition = {"stage_key": file.stage_key} if file.stage_key is not None else {}
                added.append(write_part(self.root, self.table, stay, partition))
        added = without_unchanged(added, retired)
        if not added and not retired:
            return self
        moves_only = change.is_rewrite
        actions: list[AddAction | RemoveAction] = [_remove(f, not moves_only) for f in retired]
        actions += [_add(p, not moves_only) for p in added]
        said = {"job_id": job_id, "commit_id": secrets.token_hex(8)}
        try:
            _asked(self.root / self.table.name, partial(_commit, self._delta, self.table, actions, said))
        except (CommitFailedError, buckets.BrokenOffError) as error:
            self._refuse_unless_ours(error, said["commit_id"])
        _patiently(self.root / self.table.name, self._delta.update_incremental)
        return Snapshot(self.root, self.table, self._delta)

    def _refuse_unless_ours(self, error: Exception, commit_id: str) -> None:
        """Raise `ConflictError` where somebody else has the next version.

        On an object store it may be ours all the same: when the answer to a request is lost, the request is made again,
        and finds that it was heard the first time. Where nobody has that version, something else was wrong.
        """
        entry = log_entry(self.root / self.table.name, self.version + 1)
        try:
            found = places.read(entry)
        except FileNotFoundError:
            if isinstance(entry, ObjectPath) and isinstance(error, CommitFailedError):
                raise buckets.as_os_error(error, entry.uri) from error
            raise ConflictError(str(error)) from error
        if not any(json.loads(line).get("commitInfo", {}).get("commit_id") == commit_id for line in found.splitlines()):
            raise ConflictError(str(error)) from error

    def vacuum(self, keep_versions: Iterable[int], retention_hours: int, dry_run: bool) -> list[str]:
        """Delete files that neither the newest nor the given versions refer to, spared for `retention_hours`."""
        if self._delta is None:
            return []
        vacuum = partial(
            self._delta.vacuum,
            retention_hours=retention_hours,
            dry_run=dry_run,
            enforce_retention_duration=False,
            full=True,
            keep_versions=sorted({v for v in keep_versions if 0 <= v <= self.version} | {self.version}),
        )
        return _patiently(self.root / self.table.name, vacuum)


def _commit(
    delta: DeltaTable, table: schemas.Table, actions: list[AddAction | RemoveAction], said: dict[str, str]
) -> None:
    delta.create_write_transaction(
        actions,
        "append",
        DeltaSchema.from_arrow(table.arrow_schema),
        list(table.partition_by) or None,
        commit_properties=CommitProperties(custom_metadata=said, max_commit_retries=0),
    )


def log_entry(table: Place, version: int) -> Place:
    """Return the file that makes a table's version what it is."""
    return table / "_delta_log" / f"{version:020}.json"


def _add(part: Part, data_change: bool) -> AddAction:
    return AddAction(part.path, part.size_bytes, part.partition, now_ms(), data_change, statistics_json(part))


def _remove(file: DataFile, data_change: bool) -> RemoveAction:
    partition: dict[str, Any] | None = {"stage_key": file.stage_key} if file.stage_key is not None else None
    return RemoveAction(file.path, data_change, now_ms(), file.size_bytes, partition)
