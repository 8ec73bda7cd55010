"""The log of a Delta table: its first entry, its newest version, and the state after some entries.

The library reads every entry twice, besides a checkpoint and a listing; in a bucket each is a request. What this
program writes is simple enough to be read here, each entry once. Logs with anything else are left to the library.

The library takes an entry that was cut at a line's end, or is empty, for a commit. So every entry says in its
`commitInfo` how many actions it has, and what the table is made of after it: its rows, and a hash of the names of its
files, which contain hashes of their bytes. Readers compare; entries of other programs say nothing of the kind.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import unquote

from blake3 import blake3

import schemas
from jobs.core.errors import BrokenTableError
from jobs.core.naming import many
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

_WRITTEN_BY_EVERY_RUN = frozenset({schemas.STREAMS, schemas.LISTING, schemas.QUARANTINE, schemas.HEADS, schemas.SCOPES})
"""Tables that every run writes to, in addition to those of its stages."""

_FOLDER = "_delta_log"
_READ_AT_ONCE = 8
_PLAIN = frozenset({"commitInfo", "protocol"})
_ENTRY = re.compile(r"(\d{20})\.json")


class State(NamedTuple):
    """State of a table at a version: its files by their paths, its columns, and the sum of its files."""

    version: int
    files: dict[str, DataFile]
    columns: frozenset[str]
    n_rows: int = 0
    files_hash: int = 0
    """Sum (modulo 2**64) of hashes of the files' paths, which does not depend on their order."""

    @classmethod
    def of(cls, version: int, files: Mapping[str, DataFile], columns: Iterable[str]) -> State:
        """Return the state with these files."""
        return cls(version, {}, frozenset(columns)).after(version, (), files)

    def after(self, version: int, removed: Iterable[str], added: Mapping[str, DataFile]) -> State:
        """Return the state after files were removed, by their paths, and others added."""
        files, n_rows, total = dict(self.files), self.n_rows, self.files_hash
        for path in removed:
            if (file := files.pop(path, None)) is not None:
                n_rows, total = n_rows - (file.n_rows or 0), total - _hash_of(path)
        for path, file in added.items():
            if (before := files.get(path)) is not None:
                n_rows, total = n_rows - (before.n_rows or 0), total - _hash_of(path)
            n_rows, total = n_rows + (file.n_rows or 0), total + _hash_of(path)
        return State(version, {**files, **added}, self.columns, n_rows, total % 2**64)

    @property
    def summary(self) -> dict[str, str]:
        """Return the state of the table that an entry records."""
        return {"rows": str(self.n_rows), "files_hash": f"{self.files_hash:016x}"}


ABSENT = State(-1, {}, frozenset())
"""State of a table that does not exist."""


def _hash_of(path: str) -> int:
    return int.from_bytes(blake3(path.encode()).digest(8), "big")


class _NotPlainError(Exception):
    """The log contains something that only the library understands."""


class _CutError(Exception):
    """An entry of the log is not what was written."""


def read_log(table: Place, upto: int | None = None) -> State | None:
    """Return a table at a version, or the newest, -1 for none; None where the library has to read it.

    Raises `BrokenTableError` where the log was cut.
    """
    names = (table / _FOLDER).names()
    versions = _versions_in(names)
    if len(versions) != len([n for n in names if not n.startswith(".")]) or versions != list(range(len(versions))):
        return None
    if upto is not None:
        if upto >= len(versions):
            return None
        versions = versions[: upto + 1]
    try:
        return _apply_entries(table, ABSENT, _read(table, versions))
    except (FileNotFoundError, _NotPlainError):
        return None


def _versions_in(names: Iterable[str]) -> list[int]:
    return sorted(int(m[1]) for name in names if (m := _ENTRY.fullmatch(name)))


def _read(table: Place, versions: Sequence[int]) -> list[bytes]:
    if not table.is_remote:
        return [log_entry(table, version).read() for version in versions]
    with ThreadPoolExecutor(_READ_AT_ONCE) as threads:
        return list(threads.map(lambda version: log_entry(table, version).read(), versions))


def read_newer(table: Place, state: State) -> State | None:
    """Return the newest state of a table of which an earlier one is known; None where the library has to read it.

    Raises `BrokenTableError` where the log was cut.
    """
    read: list[bytes] = []
    try:
        while True:
            read.append(log_entry(table, state.version + len(read) + 1).read())
    except FileNotFoundError:
        pass
    try:
        return _apply_entries(table, state, read)
    except _NotPlainError:
        return None


def check_state(table: Place, state: State) -> None:
    """Compare a state that the library read from a checkpoint with the entry of its version.

    Raises `BrokenTableError` where the log was cut.
    """
    try:
        _compare(state, _whole(log_entry(table, state.version).read()))
    except FileNotFoundError:
        # Other programs may delete entries that a checkpoint covers.
        return
    except (_CutError, _NotPlainError) as error:
        raise BrokenTableError(_cut_message(table, state.version, error)) from error


def damaged_entries(table: Place, newest: int) -> Iterator[tuple[Place, str]]:
    """Read all entries of a log, also those that a checkpoint covers; yield each that was cut or is missing, and why.

    `newest` is the table's version. Nothing deletes an entry of these tables, which releases are read through.
    """
    versions = _versions_in((table / _FOLDER).names())
    for version in sorted(set(range(newest + 1)) - set(versions)):
        gone = log_entry(table, version)
        yield gone, broken_message(table, f"entry {gone.name} is missing")
    with suppress(FileNotFoundError):
        for version, entry in zip(versions, _read(table, versions), strict=True):
            try:
                _whole(entry)
            except (_CutError, _NotPlainError) as error:
                yield log_entry(table, version), _cut_message(table, version, error)


def _cut_message(table: Place, version: int, error: Exception) -> str:
    return broken_message(table, f"entry {log_entry(table, version).name} is not whole: {error or 'not JSON'}")


def _apply_entries(table: Place, state: State, entries: Sequence[bytes]) -> State:
    for entry in entries:
        version = state.version + 1
        try:
            actions = _whole(entry)
            state = _applied(state, actions)
            _compare(state, actions)
        except _CutError as error:
            raise BrokenTableError(_cut_message(table, version, error)) from error
    return state


def _whole(entry: bytes) -> list[tuple[str, Any]]:
    """Return the actions of an entry. Raises `_CutError` where it does not have all that were written."""
    actions = [action for line in entry.splitlines() for action in _action(line)]
    said = _said(actions)
    if said is None:
        raise _CutError(f"expected a commitInfo, found {len(actions)} actions" if actions else "it is empty")
    wanted = said.get("actions")
    if wanted is not None and str(wanted) != str(len(actions) - 1):
        raise _CutError(f"expected {wanted} actions, found {len(actions) - 1}")
    return actions


def _said(actions: Sequence[tuple[str, Any]]) -> Mapping[str, Any] | None:
    return next((said for kind, said in actions if kind == "commitInfo"), None)


def _applied(state: State, actions: Sequence[tuple[str, Any]]) -> State:
    # An entry never adds a file that it removes.
    removed, added, columns = [], {}, state.columns
    for kind, said in actions:
        if kind == "add":
            file = _added(said)
            added[file.path] = file
        elif kind == "remove":
            removed.append(unquote(said["path"]))
        elif kind == "metaData":
            columns = frozenset(field["name"] for field in json.loads(said["schemaString"])["fields"])
        elif (kind == "protocol" and said["minReaderVersion"] > 1) or kind not in _PLAIN:
            raise _NotPlainError
    return state.after(state.version + 1, removed, added)._replace(columns=columns)


def _compare(state: State, actions: Sequence[tuple[str, Any]]) -> None:
    """Raise `_CutError` where a table is not made of what the entry of its version says."""
    said = _said(actions) or {}
    for name, found in state.summary.items():
        if name in said and said[name] != found:
            raise _CutError(f"it says {name} {said[name]}, and the entries up to it give {found}")


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
    return max(_versions_in((table / _FOLDER).names()), default=-1)


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
    actions = [{"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}}, {"metaData": metadata}]
    about = {"timestamp": now_ms, "operation": "CREATE TABLE", "operationParameters": {"mode": "Ignore"}}
    said = {"commitInfo": about | entry_summary(len(actions), ABSENT)}
    return b"\n".join(json.dumps(action).encode() for action in (said, *actions))


def entry_summary(n_actions: int, after: State) -> dict[str, str]:
    """Return the summary of an entry and of the table after it."""
    return {"actions": str(n_actions), **after.summary}


def broken_message(at: Place, error: str) -> str:
    """Return the message for a table that cannot be read: the reason without the library's trace, and the fix."""
    reason = error.partition("\n")[0].removeprefix("Kernel error: ").partition(": ParsedLogPath")[0].rstrip(".")
    return f"table {at.name} cannot be read: {reason} (its log is {at}/{_FOLDER}); {fix_of_loss(at.name)}"


def lost_message(at: Place, recorded: int, newest: int, n_rows: int | None = None) -> str:
    """Return the message for a table that lacks a version which was recorded, or rows of it, with the fix."""
    state = "missing" if newest < 0 else f"at version {newest} now"
    rows = "" if n_rows is None else f" with {many(n_rows, 'row')}"
    other = ", another one than this" if newest == recorded else ""
    return (
        f"table {at.name} is {state}, and was recorded at version {recorded}{rows}{other} ({at}); "
        f"{fix_of_loss(at.name)}"
    )


def fix_of_loss(name: str, is_computed: bool | None = None) -> str:
    """Return what to do about a loss of a table; `is_computed`: whether a run brings it back, by default if some do."""
    fix = f"bring it back from a backup, or, if there is none, give it up with `winnow tables accept-loss {name}`"
    table = schemas.BY_NAME.get(name)
    if is_computed is None:
        is_computed = table is not None and (table.has_stage_key or table in _WRITTEN_BY_EVERY_RUN)
    return f"{fix} and run the streams again, which recomputes it" if is_computed else fix
