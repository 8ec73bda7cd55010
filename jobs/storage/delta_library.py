"""Calls of the library deltalake: opening a table, one transaction, reading ranges of files; errors of stores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import pyarrow.fs as pafs
from deltalake import CommitProperties, DeltaTable
from deltalake import Schema as DeltaSchema
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.fs import DeltaStorageHandler
from deltalake.transaction import AddAction, RemoveAction

import schemas
from jobs.core.errors import BrokenTableError
from jobs.storage import delta_log
from jobs.storage.data_files import Part, now_ms, statistics_json
from jobs.storage.file_pruning import DataFile
from jobs.storage.paths import Place
from transforms.io import object_store

T = TypeVar("T")


def as_os_errors(at: Place, call: Callable[[], T]) -> T:
    """Return the result of a call; failures of an object store are raised as `OSError` of one line."""
    try:
        return call()
    except (CommitFailedError, TableNotFoundError):
        raise
    except (DeltaError, OSError) as error:
        if not at.is_remote:
            raise
        raise object_store.as_os_error(error, str(at)) from error


def with_retries(at: Place, call: Callable[[], T]) -> T:
    """Return the result of a call, which is repeated after temporary failures of an object store."""
    return object_store.with_retries(lambda: as_os_errors(at, call))


def open_table(at: Place, version: int | None = None) -> DeltaTable:
    """Return the library's table. Raises `TableNotFoundError`, and `BrokenTableError` where it cannot be read."""
    try:
        return with_retries(at, lambda: DeltaTable(_uri(at), version=version, storage_options=_options(at)))
    except TableNotFoundError:
        raise
    except DeltaError as error:
        raise BrokenTableError(delta_log.broken_message(at, str(error))) from error


def schema(table: schemas.Table) -> DeltaSchema:
    """Return the columns of a table as the library has them."""
    return DeltaSchema.from_arrow(table.arrow_schema)


def range_reader(at: Place, sizes: Mapping[str, int]) -> pafs.FileSystem:
    """Return the file system that reads ranges of a table's files in a bucket; `sizes` are in bytes."""
    return pafs.PyFileSystem(DeltaStorageHandler(_uri(at), _options(at), dict(sizes)))


def commit(
    delta: DeltaTable, table: schemas.Table, actions: list[AddAction | RemoveAction], said: dict[str, str]
) -> None:
    """Commit one transaction without retries; `said` goes into the `commitInfo` of its entry."""
    delta.create_write_transaction(
        actions,
        "append",
        schema(table),
        list(table.partition_by) or None,
        commit_properties=CommitProperties(custom_metadata=said, max_commit_retries=0),
    )


def add(part: Part, data_change: bool) -> AddAction:
    """Return the action that adds a file."""
    return AddAction(part.path, part.size_bytes, part.partition, now_ms(), data_change, statistics_json(part))


def remove(file: DataFile, data_change: bool) -> RemoveAction:
    """Return the action that retires a file."""
    partition: dict[str, Any] | None = {"stage_key": file.stage_key} if file.stage_key is not None else None
    return RemoveAction(file.path, data_change, now_ms(), file.size_bytes, partition)


def _uri(at: Place) -> str:
    """Return how the library is given a place: in a URI of a bucket, `#` and `?` would end the path."""
    return str(at).replace("#", "%23").replace("?", "%3F") if at.is_remote else str(at)


def _options(at: Place) -> dict[str, str] | None:
    return object_store.table_options() if at.is_remote else None
