"""The Delta tables of a workspace: read at a version, changed in one transaction, fenced against other writers.

The only module that knows deltalake. A change is made from the snapshot it was planned on and fails if another writer
committed meanwhile; then the caller plans it again from the newest snapshot.
"""

from __future__ import annotations

import json
import random
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TypeVar

import polars as pl
import pyarrow as pa
import pyarrow.fs as pafs
from deltalake import CommitProperties, DeltaTable
from deltalake import Schema as DeltaSchema
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.fs import DeltaStorageHandler
from deltalake.transaction import AddAction, RemoveAction

import schemas
from jobs.core.errors import BrokenTableError
from jobs.storage import delta_log, table_reader
from jobs.storage.changes import Change, ConflictError, Drop, DropBounds, remaining_rows, without_unchanged
from jobs.storage.data_files import Part, now_ms, statistics_json, write_part
from jobs.storage.delta_log import State, log_entry
from jobs.storage.file_pruning import DataFile
from jobs.storage.paths import Place
from transforms.io import object_store

__all__ = ["Change", "ConflictError", "DataFile", "Drop", "Snapshot", "Store"]

T = TypeVar("T")

_UPSERT_TRIES = 60
_OPENED_AT_ONCE = 8


def _as_os_errors(at: Place, call: Callable[[], T]) -> T:
    """Return the result of a call; failures of an object store are raised as `OSError` of one line."""
    try:
        return call()
    except (CommitFailedError, TableNotFoundError):
        raise
    except (DeltaError, OSError) as error:
        if not at.is_remote:
            raise
        raise object_store.as_os_error(error, str(at)) from error


def _with_retries(at: Place, call: Callable[[], T]) -> T:
    """Return the result of a call, which is repeated after temporary failures of an object store."""
    return object_store.with_retries(lambda: _as_os_errors(at, call))


def _delta_at(at: Place, version: int | None = None) -> DeltaTable:
    try:
        return _with_retries(at, lambda: DeltaTable(str(at), version=version, storage_options=_options(at)))
    except TableNotFoundError:
        raise
    except DeltaError as error:
        raise BrokenTableError(delta_log.broken_message(at, str(error))) from error


def _schema(table: schemas.Table) -> DeltaSchema:
    return DeltaSchema.from_arrow(table.arrow_schema)


def _options(at: Place) -> dict[str, str] | None:
    return object_store.table_options() if at.is_remote else None


class Store:
    """The tables of one workspace, at their newest versions or at given ones.

    It keeps the last state of a table that it read, and reads only newer entries of the log: in a bucket, opening a
    table takes a request for every version of it.
    """

    def __init__(self, root: Place, versions: Mapping[str, int] | None = None) -> None:
        self.root = root
        self._versions = versions
        self._seen: dict[str, Snapshot] = {}
        self._read_once: set[str] | None = None

    def create_tables(
        self, tables: Sequence[schemas.Table] | None = None, to_commit: Collection[schemas.Table] = ()
    ) -> None:
        """Create those of some tables (or all) that are not there yet, and add columns that an older version lacked.

        Those `to_commit` are certain to be committed to, for which the library has to open them.
        """
        tables = schemas.ALL if tables is None else tables
        at_once = _OPENED_AT_ONCE if self.root.is_remote else 1
        there = set(self.root.folders())
        with ThreadPoolExecutor(at_once) as threads:
            for _ in threads.map(
                lambda table: self._make_ready(table, table.name in there, table in to_commit), tables
            ):
                pass

    def _make_ready(self, table: schemas.Table, is_there: bool, to_commit: bool) -> None:
        if is_there and to_commit and not self.seen(table):
            with suppress(TableNotFoundError):
                delta = _delta_at(self.root / table.name)
                self._seen[table.name] = Snapshot(self.root, table, self._seen, delta=delta)
        if not is_there or (self.seen(table) or self.open(table)).version < 0:
            self._create(table)
        snapshot = self.seen(table) or self.open(table)
        if snapshot.later:
            snapshot.widen()
            del self._seen[table.name]

    def _create(self, table: schemas.Table) -> None:
        first = log_entry(self.root / table.name, 0)
        if first.create(delta_log.first_entry(table, _schema(table).to_json())):
            self._seen[table.name] = Snapshot(
                self.root, table, self._seen, State(0, {}, frozenset(table.arrow_schema.names))
            )
        else:
            self._seen.pop(table.name, None)

    def open(self, table: schemas.Table) -> Snapshot:
        """Return the table as it is now, or as it was at the store's version; empty if it does not exist."""
        before = self.seen(table)
        if before is not None and (self._versions is not None or table.name in (self._read_once or ())):
            return before
        if before is None or not self._is_newest(before):
            before = self._seen[table.name] = self._newest(table, before)
        if self._read_once is not None:
            self._read_once.add(table.name)
        return before

    @contextmanager
    def cached_reads(self) -> Iterator[None]:
        """Read the newest version of each table only once in this context, or again after a conflict."""
        outer = self._read_once
        self._read_once = set() if outer is None else outer
        try:
            yield
        finally:
            self._read_once = outer

    def _newest(self, table: schemas.Table, before: Snapshot | None) -> Snapshot:
        if before and (after := before.refresh()):
            return after
        at, version = self.root / table.name, None if self._versions is None else self._versions.get(table.name, -1)
        state = delta_log.ABSENT if version == -1 else delta_log.read_log(at, version)
        if state is not None:
            return Snapshot(self.root, table, self._seen, state)
        if version is not None and (newest := delta_log.newest_version(at)) < version:
            # A recorded version did exist: an empty table would not be what it held then.
            raise BrokenTableError(delta_log.lost_message(at, version, newest))
        try:
            return Snapshot(self.root, table, self._seen, delta=_delta_at(at, version))
        except TableNotFoundError:
            return Snapshot(self.root, table, self._seen)

    def _is_newest(self, snapshot: Snapshot) -> bool:
        at = self.root / snapshot.table.name
        if not at.is_remote and snapshot.version >= 0 and not log_entry(at, snapshot.version).exists():
            return False
        return not log_entry(at, snapshot.version + 1).exists()

    def seen(self, table: schemas.Table) -> Snapshot | None:
        """Return the last version that this store read or committed; None if it did neither."""
        snapshot = self._seen.get(table.name)
        return snapshot if snapshot is not None and snapshot.table is table else None

    def version_of(self, table: schemas.Table) -> int:
        """Return the version of a table that the store last read, or the newest one; -1 where there is none."""
        if (snapshot := self.seen(table)) or self._versions is not None:
            return (snapshot or self.open(table)).version
        return delta_log.newest_version(self.root / table.name)

    def read(self, table: schemas.Table, columns: Sequence[str] | None = None, as_seen: bool = False) -> pa.Table:
        """Return the whole of a small table, as it is now or, with `as_seen`, as the store last read it."""
        return ((as_seen and self.seen(table)) or self.open(table)).read(columns)

    def upsert(self, table: schemas.Table, rows: pa.Table, job_id: str, replacing: Drop | None = None) -> None:
        """Replace the rows with the same keys (or those of `replacing`) by these, also with concurrent writers."""
        keys = rows.select(list(table.file_key))

        def change(_: Snapshot) -> Change:
            partition = {name: rows[name][0].as_py() for name in table.partition_by if rows.num_rows}
            fresh = rows.drop_columns(list(table.partition_by))
            parts = [write_part(self.root, table, fresh, partition)] if rows.num_rows else []
            return Change(parts, [replacing or Drop(keys=keys)])

        self.transact(table, change, job_id)

    def transact(self, table: schemas.Table, change: Callable[[Snapshot], Change | None], job_id: str) -> Snapshot:
        """Commit what `change` makes of the newest snapshot; repeated until no other writer committed in between."""
        # There is usually no other writer: the last version read is the newest, or the commit detects it.
        snapshot = self.seen(table) or self.open(table)
        for attempt in range(_UPSERT_TRIES):
            wanted = change(snapshot)
            try:
                if wanted is not None:
                    return snapshot.commit(wanted, job_id)
                before, snapshot = snapshot, self.open(table)
                if snapshot is before:
                    return snapshot
            except ConflictError:
                time.sleep(random.uniform(0, min(1.0, 0.01 * 2**attempt)))
                snapshot = self.open(table)
        raise ConflictError(f"table {table.name} was being written by others {_UPSERT_TRIES} times in a row")


class Snapshot(table_reader.Rows):
    """A table at one version, -1 where it does not exist."""

    def __init__(
        self,
        root: Place,
        table: schemas.Table,
        seen: dict[str, Snapshot],
        state: State = delta_log.ABSENT,
        delta: DeltaTable | None = None,
    ) -> None:
        super().__init__(root, table)
        if state.version < 0 and delta is not None:
            files = {f.path: f for f in DataFile.of_actions(pa.table(delta.get_add_actions(flatten=True)))}
            state = State(delta.version(), files, frozenset(field.name for field in delta.schema().fields))
        self._state = state
        # Of this version, or of an earlier one until it is needed. No two snapshots share it: it is updated to later
        # versions, and belongs to their snapshots then.
        self._delta = delta
        self._library_table: DeltaTable | None = None
        self._seen = seen

    @property
    def version(self) -> int:
        """Return the version, or -1 where the table does not exist."""
        return self._state.version

    def _at_version(self) -> DeltaTable:
        """Return the library's table at this version."""
        at = self.root / self.table.name
        if self._delta is not None and self._delta.version() < self.version:
            _with_retries(at, self._delta.update_incremental)
        if self._delta is None or self._delta.version() != self.version:
            self._delta = _delta_at(at, self.version)
        return self._delta

    def _for_lazy_reader(self) -> DeltaTable:
        """Return the library's table for a lazy reader, which needs it to stay at this version."""
        if self._library_table is None:
            self._library_table, self._delta = self._at_version(), None
        return self._library_table

    def refresh(self) -> Snapshot | None:
        """Return the newest version of the table, if it is another one and can be derived from this one."""
        state = delta_log.read_newer(self.root / self.table.name, self._state)
        if state is None or state.version <= self.version:
            return None
        delta, self._delta = self._delta, None
        return Snapshot(self.root, self.table, self._seen, state, delta)

    def widen(self) -> None:
        """Add the columns that were declared after this version was written."""
        # Earlier rows are null in a new column, even if it is required for later ones.
        fresh = [self.table.arrow_schema.field(name).with_nullable(True) for name in self.later]
        self._at_version().alter.add_columns(list(DeltaSchema.from_arrow(pa.schema(fresh)).fields))

    @property
    def files(self) -> list[DataFile]:
        """Return the files that make up this version."""
        return list(self._state.files.values())

    def _remote_files(self, sizes: Mapping[str, int]) -> pafs.FileSystem:
        at = self.root / self.table.name
        return pafs.PyFileSystem(DeltaStorageHandler(str(at), _options(at), dict(sizes)))

    def _retried(self, call: Callable[[], T]) -> T:
        return _with_retries(self.root, call)

    def lazy(self) -> pl.LazyFrame:
        """Return all rows as a Polars lazy frame."""
        if self.version < 0:
            return pl.LazyFrame(schema=pl.Schema(self.table.arrow_schema))
        if self.root.is_remote:
            # Polars would bring a third client of the object store, with credentials and errors of its own.
            return pl.scan_pyarrow_dataset(self.dataset())
        types = pl.Schema(self.table.arrow_schema)
        later = [pl.lit(None, types[name]).alias(name) for name in self.later]
        return pl.scan_delta(self._for_lazy_reader()).with_columns(later)

    @property
    def later(self) -> list[str]:
        """Return the columns that were declared after this version of the table was written; they are null in it."""
        return [name for name in self.table.arrow_schema.names if name not in self._state.columns]

    def commit(self, change: Change, job_id: str) -> Snapshot:
        """Make a change in one transaction and return the table after it.

        Raises `ConflictError` if another writer has committed since this snapshot was taken.
        """
        table = self.root / self.table.name
        # A table that was deleted meanwhile is not created again.
        if self.version < 0 or not log_entry(table, self.version).exists():
            raise FileNotFoundError(f"table {self.table.name} is not there any more: {table}")
        retired = list(change.retire)
        added = list(change.add)
        gone = {f.path for f in retired}
        bounds = [DropBounds.of(drop) for drop in change.drop]
        for file in self.files:
            # All drops at once: what one of them leaves of a file is not among the files that the next one would read.
            drops = [b.drop for b in bounds if b.may_affect(file)] if file.path not in gone else []
            stay = remaining_rows(self.root / self.table.name, self.table, file, drops) if drops else None
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
            _as_os_errors(self.root / self.table.name, partial(_commit, self._at_version(), self.table, actions, said))
        except (CommitFailedError, object_store.BrokenOffError) as error:
            self._seen.pop(self.table.name, None)
            self._refuse_unless_ours(error, said["commit_id"])
        gone = {f.path for f in retired}
        files = {path: file for path, file in self._state.files.items() if path not in gone}
        files |= {part.path: DataFile.of(part) for part in added}
        delta, self._delta = self._delta, None
        after = Snapshot(self.root, self.table, self._seen, State(self.version + 1, files, self._state.columns), delta)
        self._seen[self.table.name] = after
        return after

    def _refuse_unless_ours(self, error: Exception, commit_id: str) -> None:
        """Raise `ConflictError` if another writer committed the next version.

        On an object store it may be our own commit: when the response to a request is lost, the request is repeated,
        and finds its own entry. Where there is no such version, the failure had another reason.
        """
        entry = log_entry(self.root / self.table.name, self.version + 1)
        try:
            found = entry.read()
        except FileNotFoundError:
            if entry.is_remote and isinstance(error, CommitFailedError):
                raise object_store.as_os_error(error, str(entry)) from error
            raise ConflictError(str(error)) from error
        if not any(json.loads(line).get("commitInfo", {}).get("commit_id") == commit_id for line in found.splitlines()):
            raise ConflictError(str(error)) from error

    def unreferenced(self, keep_versions: Iterable[int], retention_hours: int) -> list[str]:
        """Return the files, below the table, that neither the newest nor the given versions refer to.

        Files that a version of the last `retention_hours` referred to, and files of no version that were written since,
        are left out.
        """
        if self.version < 0:
            return []
        vacuum = partial(
            self._at_version().vacuum,
            retention_hours=retention_hours,
            dry_run=True,
            enforce_retention_duration=False,
            full=True,
            keep_versions=sorted({v for v in keep_versions if 0 <= v <= self.version} | {self.version}),
        )
        return _with_retries(self.root / self.table.name, vacuum)


def _commit(
    delta: DeltaTable, table: schemas.Table, actions: list[AddAction | RemoveAction], said: dict[str, str]
) -> None:
    delta.create_write_transaction(
        actions,
        "append",
        _schema(table),
        list(table.partition_by) or None,
        commit_properties=CommitProperties(custom_metadata=said, max_commit_retries=0),
    )


def _add(part: Part, data_change: bool) -> AddAction:
    return AddAction(part.path, part.size_bytes, part.partition, now_ms(), data_change, statistics_json(part))


def _remove(file: DataFile, data_change: bool) -> RemoveAction:
    partition: dict[str, Any] | None = {"stage_key": file.stage_key} if file.stage_key is not None else None
    return RemoveAction(file.path, data_change, now_ms(), file.size_bytes, partition)
