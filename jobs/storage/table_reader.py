"""Reading rows of a table's data files, on disk or in a bucket, with few requests."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from operator import and_
from typing import TypeVar

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.fs as pafs

import schemas
from jobs.storage.data_files import source
from jobs.storage.file_integrity import PARQUET, check_files
from jobs.storage.file_pruning import DataFile, Span, row_filter
from jobs.storage.paths import Place

T = TypeVar("T")

_WHOLE_BYTES = 1 << 20
_READ_AT_ONCE = 8


class Rows(ABC):
    """The rows of one version of a table; subclasses know its files."""

    def __init__(self, root: Place, table: schemas.Table) -> None:
        self.root = root
        self.table = table

    @property
    @abstractmethod
    def files(self) -> list[DataFile]:
        """Return the files that make up this version."""

    @abstractmethod
    def _remote_files(self, sizes: Mapping[str, int]) -> pafs.FileSystem:
        """Return the file system that reads ranges of files in a bucket; `sizes` are in bytes."""

    @abstractmethod
    def _retried(self, call: Callable[[], T]) -> T:
        """Return the result of a call that reads files, repeated after temporary failures."""

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
        rows = self._retried(lambda: dataset.to_table(columns=stored, filter=wanted))
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

    def count(
        self, stage_key: str, streams: frozenset[str], not_null: str | None = None, is_true: str | None = None
    ) -> int:
        """Return the number of rows of streams under a stage key.

        Of those that have a value in the column `not_null`, or true in `is_true`, where these are given.
        """
        dataset = self._dataset_of(stage_key, streams, (None, None))
        wanted = pads.field("stream_id").isin(sorted(streams))
        if not_null is not None:
            wanted &= pads.field(not_null).is_valid()
        if is_true is not None:
            wanted &= pads.field(is_true)
        return dataset.count_rows(filter=wanted)

    def _dataset_of(self, stage_key: str | None, streams: frozenset[str] | None, span: Span) -> pads.Dataset:
        chosen = [f for f in self.files if self._in_partition(f, stage_key) and f.may_hold(streams, span)]
        return _dataset_of(
            self.root / self.table.name, self.table, {f.path: f.size_bytes for f in chosen}, self._remote_files
        )

    def of_frames(self, streams: pa.Array, numbers: pa.Array) -> pads.Dataset:
        """Return the rows of some streams with some frame numbers; others are never in memory together."""
        # A dataset that is filtered twice takes both filters.
        return self.dataset().filter(pads.field("stream_id").isin(streams) & pads.field("frame_idx").isin(numbers))

    def dataset(self) -> pads.Dataset:
        """Return all rows as an Arrow dataset; columns that were declared later are null."""
        schema = pa.schema([field.with_nullable(True) for field in self.table.arrow_schema])
        if not self.files:
            return pads.dataset(schema.empty_table())
        folder = self.root / self.table.name
        sizes = {f.path: f.size_bytes for f in self.files}
        check_files(folder, sizes)
        return pads.FileSystemDataset(_fragments(folder, sizes, self._remote_files, self.files), schema, PARQUET)

    def _in_partition(self, file: DataFile, stage_key: str | None) -> bool:
        if not self.table.has_stage_key:
            return True
        assert stage_key is not None, f"{self.table.name} has rows of several stage keys"
        return file.stage_key == stage_key


def _dataset_of(
    folder: Place,
    table: schemas.Table,
    sizes: Mapping[str, int],
    remote: Callable[[Mapping[str, int]], pafs.FileSystem],
) -> pads.Dataset:
    """Return files below a table's folder, given by their paths and sizes (bytes), as a dataset.

    Files in a bucket are fetched whole if they are small, and otherwise read in pieces through what `remote` makes.
    """
    if not sizes:
        return pads.dataset(table.file_schema.empty_table())
    if not folder.is_remote:
        check_files(folder, sizes)
        paths = [str(folder / path) for path in sizes]
        return pads.dataset(paths, schema=table.file_schema, format=PARQUET)
    if sum(sizes.values()) <= _WHOLE_BYTES:
        return pads.FileSystemDataset(_fragments(folder, sizes, remote), table.file_schema, PARQUET)
    return pads.dataset(list(sizes), schema=table.file_schema, format=PARQUET, filesystem=remote(sizes))


def _fragments(
    folder: Place,
    sizes: Mapping[str, int],
    remote: Callable[[Mapping[str, int]], pafs.FileSystem],
    known_files: Sequence[DataFile] = (),
) -> list[pads.Fragment]:
    """Return files as the fragments of a dataset, with the partitions and bounds of `known_files`, if given."""
    known = [_known(file) for file in known_files] or [None] * len(sizes)
    if folder.is_remote and sum(sizes.values()) <= _WHOLE_BYTES:
        with ThreadPoolExecutor(min(len(sizes), _READ_AT_ONCE)) as threads:
            read = list(threads.map(lambda path: source(folder / path), sizes))
        return [PARQUET.make_fragment(data, None, of) for data, of in zip(read, known, strict=True)]
    at = remote(sizes) if folder.is_remote else pafs.SubTreeFileSystem(str(folder), pafs.LocalFileSystem())
    return [PARQUET.make_fragment(path, at, of) for path, of in zip(sizes, known, strict=True)]


def _known(file: DataFile) -> pads.Expression | None:
    """Return a condition that all rows of a file fulfil: its partition, and the bounds of its columns."""
    tests = [] if file.stage_key is None else [pads.field("stage_key") == pads.scalar(file.stage_key)]
    for name, low, high in (
        ("stream_id", file.low_stream, file.high_stream),
        ("frame_idx", file.low_idx, file.high_idx),
    ):
        if low is not None and high is not None:
            tests += [pads.field(name) >= pads.scalar(low), pads.field(name) <= pads.scalar(high)]
    return reduce(and_, tests) if tests else None
