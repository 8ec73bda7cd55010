"""The log of a Delta table: its first entry, its newest version, and the state after some entries.

The library reads every entry twice, besides a checkpoint and a listing; in a bucket each is a request. What this
program writes is simple enough to be read here, each entry once. Logs with anything else are left to the library.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple
from urllib.parse import unquote

import schemas
from jobs.storage.file_pruning import DataFile
from jobs.storage.paths import Place

_CONFIGURATION: Mapping[str, str] = {
    # A checkpoint must not delete the log that releases are read through.
    "delta.enableExpiredLogCleanup": "false",
    "delta.dataSkippingStatsColumns": "stream_id,frame_idx",
}
_COMMITS_PER_CHECKPOINT = 50
_COMMITS_PER_SMALL_CHECKPOINT = 10
"""For tables that every run writes to: opening one reads each version since the last checkpoint."""

_FOLDER = "_delta_log"
_READ_AT_ONCE = 8
_PLAIN = frozenset({"commitInfo", "protocol"})
_ENTRY = re.compile(r"(\d{20})\.json")


class State(NamedTuple):
    """State of a table at a version: its files by their paths, and its columns."""

    version: int
    files: dict[str, DataFile]
    columns: frozenset[str]


ABSENT = State(-1, {}, frozenset())
"""State of a table that does not exist."""


class _NotPlainError(Exception):
    """The log contains something that only the library understands."""


def read_log(table: Place, upto: int | None = None) -> State | None:
    """Return a table at a version, or the newest, -1 for none; None where the library has to be asked."""
    names = (table / _FOLDER).names()
    versions = sorted(int(m[1]) for name in names if (m := _ENTRY.fullmatch(name)))
    if len(versions) != len([n for n in names if not n.startswith(".")]) or versions != list(range(len(versions))):
        return None
    if upto is not None:
        if upto >= len(versions):
            return None
        versions = versions[: upto + 1]
    at_once = _READ_AT_ONCE if table.is_remote else 1
    try:
        with ThreadPoolExecutor(at_once) as threads:
            read = list(threads.map(lambda version: log_entry(table, version).read(), versions))
        return _apply_entries(ABSENT, read)
    except (FileNotFoundError, _NotPlainError):
        return None


def read_newer(table: Place, state: State) -> State | None:
    """Return the newest state of a table of which an earlier one is known; None where the library has to be asked."""
    read: list[bytes] = []
    try:
        while True:
            read.append(log_entry(table, state.version + len(read) + 1).read())
    except FileNotFoundError:
        pass
    try:
        return _apply_entries(state, read)
    except _NotPlainError:
        return None


def _apply_entries(state: State, entries: Sequence[bytes]) -> State:
    files, columns = dict(state.files), state.columns
    for entry in entries:
        # An entry never adds a file that it removes.
        added: dict[str, DataFile] = {}
        for line in entry.splitlines():
            for kind, said in _action(line):
                if kind == "add":
                    file = _added(said)
                    added[file.path] = file
                elif kind == "remove":
                    files.pop(unquote(said["path"]), None)
                elif kind == "metaData":
                    columns = frozenset(field["name"] for field in json.loads(said["schemaString"])["fields"])
                elif (kind == "protocol" and said["minReaderVersion"] > 1) or kind not in _PLAIN:
                    raise _NotPlainError
        files |= added
    return State(state.version + len(entries), files, columns)


def _action(line: bytes) -> Iterable[tuple[str, Any]]:
    try:
        return dict(json.loads(line)).items()
    except (ValueError, TypeError) as error:
        raise _NotPlainError from error


def _added(said: Mapping[str, Any]) -> DataFile:
    try:
        stats = json.loads(said["stats"])
        low, high = stats.get("minValues", {}), stats.get("maxValues", {})
        bounds = [bound.get(name) for name in ("stream_id", "frame_idx") for bound in (low, high)]
        key = said["partitionValues"].get("stage_key")
        if said.get("deletionVector"):
            raise _NotPlainError
        return DataFile(unquote(said["path"]), said["size"], stats["numRecords"], key, *bounds)
    except (KeyError, TypeError, ValueError) as error:
        raise _NotPlainError from error


def log_entry(table: Place, version: int) -> Place:
    """Return the log entry (file) of a version of a table."""
    return table / _FOLDER / f"{version:020}.json"


def newest_version(table: Place) -> int:
    """Return the newest version of a table without opening it; -1 where it does not exist."""
    return max((int(m[1]) for name in (table / _FOLDER).names() if (m := _ENTRY.fullmatch(name))), default=-1)


def first_entry(table: schemas.Table, schema: str) -> bytes:
    """Return the first entry of the log of an empty table; `schema` is JSON as Delta has it.

    It is what the library writes for a new table; writing it takes one request, and the library a dozen. No two are
    alike.
    """
    interval = _COMMITS_PER_CHECKPOINT if table.has_stage_key else _COMMITS_PER_SMALL_CHECKPOINT
    now_ms = time.time_ns() // 1_000_000
    metadata = {
        "id": str(uuid.uuid4()),
        "name": None,
        "description": table.doc,
        "format": {"provider": "parquet", "options": {}},
        "schemaString": schema,
        "partitionColumns": list(table.partition_by),
        "createdTime": now_ms,
        "configuration": {**_CONFIGURATION, "delta.checkpointInterval": str(interval)},
    }
    said = [
        {"commitInfo": {"timestamp": now_ms, "operation": "CREATE TABLE", "operationParameters": {"mode": "Ignore"}}},
        {"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}},
        {"metaData": metadata},
    ]
    return b"\n".join(json.dumps(action).encode() for action in said)


def broken_message(at: Place, error: str) -> str:
    """Return the message for a table that cannot be read: the reason without the library's trace, and the fix."""
    reason = error.partition("\n")[0].removeprefix("Kernel error: ").partition(": ParsedLogPath")[0].rstrip(".")
    computed = any(table.name == at.name and table.has_stage_key for table in schemas.ALL)
    fix = "bring it back from a backup"
    if computed:
        # A new table has other rows at the versions that a release names.
        fix += ", or, if no release is needed any more, move that folder away and run again to recompute it"
    return f"table {at.name} cannot be read: {reason} (its log is {at}/{_FOLDER}); {fix}"


def lost_message(at: Place, version: int, newest: int) -> str:
    """Return the message for a table that lacks a version which was recorded, with the fix."""
    state = "gone" if newest < 0 else f"at version {newest} now"
    return (
        f"table {at.name} is {state}, and was recorded at version {version} ({at}); bring it back from a backup: "
        "`winnow doctor` says what else is missing"
    )
