"""The log of a Delta table: what its first entry says, where an entry lies, which one is the newest."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Mapping

import schemas
from jobs.storage import places
from jobs.storage.places import Place

_CONFIGURATION: Mapping[str, str] = {
    # A checkpoint must not delete the log that releases are read through.
    "delta.enableExpiredLogCleanup": "false",
    "delta.dataSkippingStatsColumns": "stream_id,frame_idx",
}
_COMMITS_PER_CHECKPOINT = 50
_COMMITS_PER_SMALL_CHECKPOINT = 10
"""Of tables that every run writes to: each version since the last checkpoint is read by whoever opens them."""

_FOLDER = "_delta_log"
_ENTRY = re.compile(r"(\d{20})\.json")


def log_entry(table: Place, version: int) -> Place:
    """Return the file that makes a table's version what it is."""
    return table / _FOLDER / f"{version:020}.json"


def newest_version(table: Place) -> int:
    """Return the newest version of a table without opening it; -1 where it does not exist."""
    return max((int(m[1]) for name in places.names(table / _FOLDER) if (m := _ENTRY.fullmatch(name))), default=-1)


def first_entry(table: schemas.Table, schema: str) -> bytes:
    """Return what the log of an empty table says, which has a `schema` in the words of Delta.

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


def what_is_broken(at: Place, error: str) -> str:
    """Say what is wrong with a table that cannot be read, without the library's trace, and what mends it."""
    reason = error.partition("\n")[0].removeprefix("Kernel error: ").rstrip(".")
    computed = any(table.name == at.name and table.has_stage_key for table in schemas.ALL)
    anew = ""
    if computed:
        # A new table has other rows at the versions that a release names.
        anew = ", or, if no release is needed any more, move that folder away and run again, which computes it anew"
    return f"table {at.name} cannot be read: {reason} (its log is {at}/{_FOLDER}); bring it back from a backup{anew}"
