"""The Delta tables of a workspace: read at a version, changed in one transaction, fenced against other writers.

The only module that knows deltalake. A change is made from the snapshot it was planned on and fails if another writer
committed meanwhile; then the caller looks again at what is left to do.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable
from deltalake import Schema as DeltaSchema
from deltalake.exceptions import CommitFailedError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

import schemas
from jobs.storage.filters import Span, row_filter
from jobs.storage.parts import Part, now_ms, statistics_json, write_part

_UPSERT_TRIES = 60
_CONFIGURATION: Mapping[str, str | None] = {
    # A checkpoint must not delete the log that releases are read through.
    "delta.enableExpiredLogCleanup": "false",
    "delta.checkpointInterval": "50",
    "delta.dataSkippingStatsColumns": "stream_id,frame_idx",
}


class ConflictError(Exception):
    """Another writer committed to the table since the snapshot was taken."""


@dataclass(frozen=True)
class Drop:
    """Rows that a change takes out: of one stage key, whole streams or the rows with the given keys.

    `keys` holds columns of the table's key; None, with no `streams`, means every row.
    """

    stage_key: str | None = None
    streams: frozenset[str] | None = None
    keys: pa.Table | None = None


@dataclass(frozen=True)
class DataFile:
    """A committed file: its path below the table, its partition, and bounds of the columns in its statistics."""

    path: str
    size_bytes: int
    n_rows: int
    stage_key: str | None
    low_stream: str | None
    high_stream: str | None
    low_idx: int | None
    high_idx: int | None

    def may_hold(self, streams: frozenset[str] | None, span: Span) -> bool:
        """Say whether rows of these streams and frame numbers can be in the file."""
        if streams is not None and self.low_stream is not None and self.high_stream is not None:
            if self.low_stream == self.high_stream:
                if self.low_stream not in streams:
                    return False
            elif not any(self.low_stream <= s <= self.high_stream for s in streams):
                return False
        low, high = span
        if self.low_idx is None or self.high_idx is None:
            return True
        return (low is None or self.high_idx >= low) and (high is None or self.low_idx < high)


@dataclass(frozen=True)
class _Reach:
    """A drop, and between which bounds the rows lie that it takes out."""

    drop: Drop
    streams: frozenset[str] | None
    span: Span

    @classmethod
    def of(cls, drop: Drop) -> _Reach:
        streams, span = drop.streams, (None, None)
        if drop.keys is not None and "stream_id" in drop.keys.column_names:
            streams = frozenset(pc.unique(drop.keys["stream_id"]).to_pylist())
            if "frame_idx" in drop.keys.column_names and drop.keys.num_rows:
                bounds = pc.min_max(drop.keys["frame_idx"]).as_py()
                span = (bounds["min"], bounds["max"] + 1)
        return cls(drop, streams, span)

    def may_touch(self, file: DataFile) -> bool:
        right_key = self.drop.stage_key is None or file.stage_key == self.drop.stage_key
        return right_key and file.may_hold(self.streams, self.span)


class Store:
    """The tables of one workspace, at their newest versions or at given ones."""

    def __init__(self, root: Path, versions: Mapping[str, int] | None = None) -> None:
        self.root = root
        self._versions = versions
        self._peeked: dict[str, Snapshot] = {}

    def create_tables(self) -> None:
        """Create the tables that are not there yet, and add the columns that an older version did not know."""
        for table in schemas.ALL:
            if not self._has_version(table, 0):
                DeltaTable.create(
                    str(self.root / table.name),
                    schema=DeltaSchema.from_arrow(table.arrow_schema),
                    mode="ignore",
                    partition_by=list(table.partition_by),
                    description=table.doc,
                    configuration=_CONFIGURATION,
                )
            self._add_columns(table)

    def _add_columns(self, table: schemas.Table) -> None:
        if not self.peek(table).later:
            return
        delta = DeltaTable(str(self.root / table.name))
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
            return Snapshot(self.root, table, DeltaTable(str(self.root / table.name), version=version))
        except TableNotFoundError:
            return Snapshot(self.root, table, None)

    def peek(self, table: schemas.Table) -> Snapshot:
        """Return the same as `open`, to be read and not to be committed to: it is kept for as long as nobody does."""
        kept = self._peeked.get(table.name)
        if kept is None or (self._versions is None and self._has_version(table, kept.version + 1)):
            kept = self._peeked[table.name] = self.open(table)
        return kept

    def _has_version(self, table: schemas.Table, version: int) -> bool:
        return (self.root / table.name / "_delta_log" / f"{version:020}.json").exists()

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


@dataclass(frozen=True)
class Change:
    """One transaction: parts to add, rows to drop, files to retire whole (their rows are in the parts)."""

    add: Sequence[Part] = ()
    drop: Sequence[Drop] = ()
    retire: Sequence[DataFile] = ()

    @property
    def is_rewrite(self) -> bool:
        """Say whether rows only move between files."""
        return bool(self.retire) and not self.drop


class Snapshot:
    """A table at one version."""

    def __init__(self, root: Path, table: schemas.Table, delta: DeltaTable | None) -> None:
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
        rows = dataset.to_table(columns=stored, filter=row_filter(self.table, streams, span))
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
        paths = [str(self.root / self.table.name / f.path) for f in chosen]
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
        assert self._delta is not None
        retired = list(change.retire)
        added = list(change.add)
        gone = {f.path for f in retired}
        reaches = [_Reach.of(drop) for drop in change.drop]
        for file in self.files:
            # All at once: what one of them leaves of a file is not among the files that the next one looks at.
            drops = [reach.drop for reach in reaches if reach.may_touch(file)] if file.path not in gone else []
            survivors = self._survivors(file, drops) if drops else None
            if survivors is None:
                continue
            retired.append(file)
            if survivors.num_rows:
                partition = {"stage_key": file.stage_key} if file.stage_key is not None else {}
                added.append(write_part(self.root, self.table, survivors, partition))
        added = _without_unchanged(added, retired)
        if not added and not retired:
            return self
        moves_only = change.is_rewrite
        actions: list[AddAction | RemoveAction] = [_remove(f, not moves_only) for f in retired]
        actions += [_add(p, not moves_only) for p in added]
        try:
            self._delta.create_write_transaction(
                actions,
                "append",
                DeltaSchema.from_arrow(self.table.arrow_schema),
                list(self.table.partition_by) or None,
                commit_properties=CommitProperties(custom_metadata={"job_id": job_id}, max_commit_retries=0),
            )
        except CommitFailedError as error:
            raise ConflictError(str(error)) from error
        self._delta.update_incremental()
        return Snapshot(self.root, self.table, self._delta)

    def _survivors(self, file: DataFile, drops: Sequence[Drop]) -> pa.Table | None:
        """Return the rows of a file that stay, or None where all of them do."""
        path = str(self.root / self.table.name / file.path)
        if any(drop.keys is None and drop.streams is None for drop in drops):
            return self.table.file_schema.empty_table()
        keys = {name for drop in drops for name in (drop.keys.column_names if drop.keys is not None else ["stream_id"])}
        present = pl.DataFrame(pq.read_table(path, columns=sorted(keys))).with_row_index("at")
        stay = present
        for drop in drops:
            if drop.keys is not None:
                gone = pl.DataFrame(drop.keys).unique()
                stay = stay.join(gone, on=drop.keys.column_names, how="anti")
            else:
                stay = stay.filter(~pl.col("stream_id").is_in(list(drop.streams or ())))
        if stay.height == present.height:
            return None
        if not stay.height:
            return self.table.file_schema.empty_table()
        at = stay.sort("at")["at"].to_arrow()
        return pq.read_table(path).take(at).cast(self.table.file_schema)

    def vacuum(self, keep_versions: Iterable[int], retention_hours: int, dry_run: bool) -> list[str]:
        """Delete files that neither the newest nor the given versions refer to, spared for `retention_hours`."""
        if self._delta is None:
            return []
        return self._delta.vacuum(
            retention_hours=retention_hours,
            dry_run=dry_run,
            enforce_retention_duration=False,
            full=True,
            keep_versions=sorted({v for v in keep_versions if 0 <= v <= self.version} | {self.version}),
        )


def _without_unchanged(added: Sequence[Part], retired: list[DataFile]) -> list[Part]:
    """Leave files alone that would be removed and added again; `retired` loses them as well."""
    paths = {p.path for p in added} & {f.path for f in retired}
    retired[:] = [f for f in retired if f.path not in paths]
    return [p for p in added if p.path not in paths]


def _add(part: Part, data_change: bool) -> AddAction:
    return AddAction(part.path, part.size_bytes, part.partition, now_ms(), data_change, statistics_json(part))


def _remove(file: DataFile, data_change: bool) -> RemoveAction:
    partition: dict[str, Any] | None = {"stage_key": file.stage_key} if file.stage_key is not None else None
    return RemoveAction(file.path, data_change, now_ms(), file.size_bytes, partition)
