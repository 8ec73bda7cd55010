"""The Delta tables of a workspace: read at a version, changed in one transaction, fenced against other writers.

A change is made from the snapshot it was planned on and fails if another writer committed meanwhile; then the caller
plans it again from the newest snapshot. What is opened is compared with what was written (`written_versions`).
"""

from __future__ import annotations

import json
import random
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache, partial
from typing import TypeVar

import polars as pl
import pyarrow as pa
import pyarrow.fs as pafs
from deltalake import CommitProperties, DeltaTable
from deltalake import Schema as DeltaSchema
from deltalake.exceptions import CommitFailedError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

import schemas
from jobs.core.errors import BrokenTableError
from jobs.storage import delta_library, delta_log, table_reader
from jobs.storage.changes import Change, ConflictError, Drop, DropBounds, remaining_rows, without_unchanged
from jobs.storage.data_files import write_part
from jobs.storage.delta_log import State, log_entry
from jobs.storage.file_integrity import check_files
from jobs.storage.file_pruning import DataFile
from jobs.storage.paths import Place
from jobs.storage.written_versions import WrittenVersions
from transforms.io import object_store

__all__ = ["Change", "ConflictError", "DataFile", "Drop", "Snapshot", "Store"]

T = TypeVar("T")

_UPSERT_TRIES = 60
_OPENED_AT_ONCE = 8


class Store:
    """The tables of one workspace, at their newest versions or at given ones.

    It keeps the last state of a table that it read, and reads only newer entries of the log: in a bucket, opening a
    table takes a request for every version of it.
    """

    def __init__(self, root: Place, versions: Mapping[str, int] | None = None, given_up: Collection[str] = ()) -> None:
        """Make a store; `given_up` are tables that cannot be read at these versions any more."""
        self.root = root
        self._given_up = given_up
        self._versions = versions
        self.written = WrittenVersions(root)
        self._seen: dict[str, Snapshot] = {}
        self._read_once: set[str] | None = None

    def create_tables(
        self, tables: Sequence[schemas.Table] | None = None, to_commit: Collection[schemas.Table] = ()
    ) -> None:
        """Create those of some tables (or all) that are not there yet, and add columns that an older version lacked.

        Those `to_commit` are certain to be committed to, for which the library has to open them.
        """
        tables = schemas.ALL if tables is None else tables
        # Before any table is read, since the record must not be later than what it is compared with.
        self.written.load()
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
                delta = delta_library.open_table(self.root / table.name)
                self._seen[table.name] = self._compared(Snapshot(self, table, delta=delta))
        if not is_there and (lost := self.written.of(table.name)):
            raise BrokenTableError(delta_log.lost_message(self.root / table.name, lost.version, -1, lost.n_rows))
        if not is_there or (self.seen(table) or self.open(table)).version < 0:
            self._create(table)
        snapshot = self.seen(table) or self.open(table)
        if snapshot.later:
            snapshot.widen()
            del self._seen[table.name]

    def _create(self, table: schemas.Table) -> None:
        first = log_entry(self.root / table.name, 0)
        if first.create(delta_log.first_entry(table, delta_library.schema(table).to_json())):
            self.note(Snapshot(self, table, State.of(0, {}, table.arrow_schema.names)))
        else:
            self._seen.pop(table.name, None)

    def open(self, table: schemas.Table) -> Snapshot:
        """Return the table as it is now, or as it was at the store's version; empty if it does not exist.

        Raises `BrokenTableError` where it cannot be read, or is not all that was written to it.
        """
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
        if table.name in self._given_up:
            raise BrokenTableError(
                f"table {table.name} at version {version} was lost, and the loss accepted ({at}); a backup from before "
                "has it"
            )
        if version is None:
            # Before the table, so that it is not ahead of it.
            self.written.load()
        state = delta_log.ABSENT if version == -1 else delta_log.read_log(at, version)
        if state is not None:
            return self._compared(Snapshot(self, table, state))
        if version is not None and (newest := delta_log.newest_version(at)) < version:
            # A recorded version did exist: an empty table would not be what it held then.
            raise BrokenTableError(delta_log.lost_message(at, version, newest))
        try:
            return self._compared(Snapshot(self, table, delta=delta_library.open_table(at, version)))
        except TableNotFoundError:
            return self._compared(Snapshot(self, table))

    def _compared(self, snapshot: Snapshot) -> Snapshot:
        """Return a snapshot of the newest version. Raises `BrokenTableError` where it lacks what was recorded."""
        recorded = None if self._versions is not None else self.written.of(snapshot.table.name)
        if recorded and recorded.differs_from(snapshot.state):
            at = self.root / snapshot.table.name
            raise BrokenTableError(delta_log.lost_message(at, recorded.version, snapshot.version, recorded.n_rows))
        return snapshot

    def note(self, snapshot: Snapshot) -> None:
        """Take note of a version that was committed just now: it is the newest one, and is recorded."""
        self._seen[snapshot.table.name] = snapshot
        self.written.add(snapshot.table.name, snapshot.state)

    def verify_opened(self, stage_keys: Collection[str]) -> None:
        """Hash the files of all tables that were opened, but for those of other stage keys than these.

        Raises `BrokenTableError` for one that is not what was written.
        """
        for name, snapshot in self._seen.items():
            files = [f for f in snapshot.files if f.stage_key is None or f.stage_key in stage_keys]
            check_files(self.root / name, {f.path: f.size_bytes for f in files}, hash_all=True)

    def as_seen(self) -> Store:
        """Return a store of the versions that this one has last read, which reads none of their logs again."""
        held = {name: (snapshot.table, snapshot.state) for name, snapshot in self._seen.items()}
        fixed = Store(self.root, {name: state.version for name, (_, state) in held.items()})
        for name, (table, state) in held.items():
            fixed._seen[name] = Snapshot(fixed, table, state)
        return fixed

    def forget(self, table: schemas.Table) -> None:
        """Have a table be read from scratch when it is opened next."""
        self._seen.pop(table.name, None)

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
        recorded, newest = self.written.of(table.name), delta_log.newest_version(self.root / table.name)
        if recorded and newest < recorded.version:
            raise BrokenTableError(delta_log.lost_message(self.root / table.name, recorded.version, newest))
        return newest

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


@cache
def without_rows(table: schemas.Table) -> pl.LazyFrame:
    """Return a table that has no rows, made once: commands read many tables that are not there."""
    return pl.LazyFrame(schema=pl.Schema(table.arrow_schema))


class Snapshot(table_reader.Rows):
    """A table at one version, -1 where it does not exist."""

    def __init__(
        self, store: Store, table: schemas.Table, state: State = delta_log.ABSENT, delta: DeltaTable | None = None
    ) -> None:
        super().__init__(store.root, table)
        if state.version < 0 and delta is not None:
            files = {f.path: f for f in DataFile.of_actions(pa.table(delta.get_add_actions(flatten=True)))}
            state = State.of(delta.version(), files, (field.name for field in delta.schema().fields))
            delta_log.check_state(store.root / table.name, state)
        self.state = state
        # Of this version, or of an earlier one until it is needed. No two snapshots share it: it is updated to later
        # versions, and belongs to their snapshots then.
        self._delta = delta
        self._store = store

    @property
    def version(self) -> int:
        """Return the version, or -1 where the table does not exist."""
        return self.state.version

    def _at_version(self) -> DeltaTable:
        """Return the library's table at this version."""
        at = self.root / self.table.name
        if self._delta is not None and self._delta.version() < self.version:
            delta_library.with_retries(at, self._delta.update_incremental)
        if self._delta is None or self._delta.version() != self.version:
            self._delta = delta_library.open_table(at, self.version)
        return self._delta

    def refresh(self) -> Snapshot | None:
        """Return the newest version of the table, if it is another one and can be derived from this one."""
        state = delta_log.read_newer(self.root / self.table.name, self.state)
        if state is None or state.version <= self.version:
            return None
        delta, self._delta = self._delta, None
        return Snapshot(self._store, self.table, state, delta)

    def widen(self) -> None:
        """Add the columns that were declared after this version was written."""
        # Earlier rows are null in a new column, even if it is required for later ones.
        fresh = [self.table.arrow_schema.field(name).with_nullable(True) for name in self.later]
        said = delta_log.entry_summary(1, self.state)
        self._at_version().alter.add_columns(
            list(DeltaSchema.from_arrow(pa.schema(fresh)).fields),
            commit_properties=CommitProperties(custom_metadata=said),
        )

    @property
    def files(self) -> list[DataFile]:
        """Return the files that make up this version."""
        return list(self.state.files.values())

    def _remote_files(self, sizes: Mapping[str, int]) -> pafs.FileSystem:
        return delta_library.range_reader(self.root / self.table.name, sizes)

    def _retried(self, call: Callable[[], T]) -> T:
        return delta_library.with_retries(self.root, call)

    def lazy(self) -> pl.LazyFrame:
        """Return all rows as a Polars lazy frame."""
        if self.version < 0:
            return without_rows(self.table)
        # The readers of Polars do not compare pages with their checksums, take `k=v` in the name of any folder for a
        # partition, and bring a third client of the object store.
        return pl.scan_pyarrow_dataset(self.dataset())

    @property
    def later(self) -> list[str]:
        """Return the columns that were declared after this version of the table was written; they are null in it."""
        return [name for name in self.table.arrow_schema.names if name not in self.state.columns]

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
        actions: list[AddAction | RemoveAction] = [delta_library.remove(f, not moves_only) for f in retired]
        actions += [delta_library.add(p, not moves_only) for p in added]
        state = self.state.after(
            self.version + 1, (f.path for f in retired), {part.path: DataFile.of(part) for part in added}
        )
        said = {
            "job_id": job_id,
            "commit_id": secrets.token_hex(8),
            **delta_log.entry_summary(len(actions), state),
        }
        try:
            delta_library.as_os_errors(
                self.root / self.table.name,
                partial(delta_library.commit, self._at_version(), self.table, actions, said),
            )
        except (CommitFailedError, object_store.BrokenOffError) as error:
            self._store.forget(self.table)
            self._refuse_unless_ours(error, said["commit_id"])
        delta, self._delta = self._delta, None
        after = Snapshot(self._store, self.table, state, delta)
        self._store.note(after)
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
        return delta_library.with_retries(self.root / self.table.name, vacuum)
