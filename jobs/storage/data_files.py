"""Data files: how a worker writes them, and their description for the driver. Imports nothing slow."""

from __future__ import annotations

import json
import re
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from threading import Lock
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from blake3 import blake3

import schemas
from jobs.core.errors import BrokenTableError
from jobs.storage.paths import Place

_ROWS_PER_GROUP = 1 << 15
_STATISTICS = ("stream_id", "frame_idx")
_HASH = re.compile(r"-([0-9a-f]{20})\.\w+$")


@dataclass(frozen=True)
class Part:
    """One Parquet file of a table, written but not yet part of any version of it.

    `path` is relative to the table; `low` and `high` bound the columns that readers skip files by.
    """

    table: str
    path: str
    partition: Mapping[str, str]
    size_bytes: int
    n_rows: int
    low: Mapping[str, Any]
    high: Mapping[str, Any]

    def to_json(self) -> str:
        """Return the part as text that `from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Part:
        """Return the part that `to_json` wrote."""
        return cls(**json.loads(text))


def write_part(
    root: Place, table: schemas.Table, rows: pa.Table | Iterable[pa.Table], partition: Mapping[str, str] | None = None
) -> Part:
    """Check rows against their table and write them as one file below `root`, the workspace.

    Many rows can come as several tables, which are checked and encoded one by one; no key may be in two of them. The
    name contains a hash of the bytes, so that the same rows give the same file and no committed file is ever
    overwritten by another. Raises `SchemaMismatchError`, and `OSError` where the disk does not take it.
    """
    partition = dict(partition or {})
    data, bounds = _encode(table, [rows] if isinstance(rows, pa.Table) else rows)
    folder = "/".join(f"{name}={value}" for name, value in partition.items())
    name = "-".join([*_range_name(bounds.low, bounds.high), f"{blake3(data).hexdigest()[:20]}.parquet"])
    path = f"{folder}/{name}" if folder else name
    target = root / table.name / path
    # A file that an earlier run left is dated now, so that no vacuum deletes it before it is committed.
    if not target.renew_mtime():
        target.parent.make_folder_within(root)
        target.write(data)
    if target.is_remote:
        _KEPT.put(str(target), data.to_pybytes())
    return Part(table.name, path, partition, len(data), bounds.n_rows, bounds.low, bounds.high)


@dataclass
class _Bounds:
    """How many rows a file has, and the smallest and largest values of its columns of `_STATISTICS`."""

    n_rows: int = 0
    low: dict[str, Any] = field(default_factory=dict)
    high: dict[str, Any] = field(default_factory=dict)

    def take_in(self, rows: pa.Table) -> None:
        self.n_rows += rows.num_rows
        for name in _STATISTICS:
            if name in rows.column_names and rows.num_rows:
                found = pc.min_max(rows[name]).as_py()
                self.low[name] = min(self.low.get(name, found["min"]), found["min"])
                self.high[name] = max(self.high.get(name, found["max"]), found["max"])


def _encode(table: schemas.Table, pieces: Iterable[pa.Table]) -> tuple[pa.Buffer, _Bounds]:
    """Return pieces of a table as the bytes of one Parquet file, and what its statistics are."""
    sink = pa.BufferOutputStream()
    bounds = _Bounds()
    options = {"compression": "zstd", "compression_level": 1, "store_schema": False, "write_page_checksum": True}
    with pq.ParquetWriter(sink, table.file_schema, **options) as writer:
        for rows in pieces:
            table.check(rows)
            bounds.take_in(rows)
            for first in range(0, rows.num_rows, _ROWS_PER_GROUP):
                writer.write_table(rows.slice(first, _ROWS_PER_GROUP).cast(table.file_schema))
    return sink.getvalue(), bounds


def _range_name(low: Mapping[str, Any], high: Mapping[str, Any]) -> list[str]:
    stream = re.sub(r"[^A-Za-z0-9_.]+", "_", str(low.get("stream_id", "rows")))[:40]
    span = [str(low["frame_idx"]), str(high["frame_idx"])] if "frame_idx" in low else []
    return [stream, *span]


class _Kept:
    """Cache of small data files in buckets; their names contain their hashes, so that they never change."""

    def __init__(self, most_bytes: int, largest: int) -> None:
        self._most_bytes, self._largest = most_bytes, largest
        self._held: OrderedDict[str, bytes] = OrderedDict()
        self._n_bytes = 0
        self._lock = Lock()

    def get(self, uri: str) -> bytes | None:
        with self._lock:
            if uri in self._held:
                self._held.move_to_end(uri)
            return self._held.get(uri)

    def put(self, uri: str, data: bytes) -> None:
        with self._lock:
            if len(data) > self._largest or uri in self._held:
                return
            self._held[uri] = data
            self._n_bytes += len(data)
            while self._n_bytes > self._most_bytes:
                self._n_bytes -= len(self._held.popitem(last=False)[1])


_KEPT = _Kept(most_bytes=8 << 20, largest=1 << 18)


def source(file: Place) -> str | pa.BufferReader:
    """Return the source of a data file for Arrow's readers: its path, or the bytes of an object (cached if small)."""
    if not file.is_remote:
        return str(file)
    data = _KEPT.get(str(file))
    if data is None:
        data = file.read()
        if not is_what_its_name_says(file.name, data):
            raise changed_file(file, "its bytes do not have the hash in its name")
        _KEPT.put(str(file), data)
    return pa.BufferReader(data)


def is_what_its_name_says(name: str, data: bytes) -> bool:
    """Return whether bytes have the hash in their file's name: the first digits of their BLAKE3 hash, if it has one."""
    wanted = _HASH.search(name)
    return wanted is None or blake3(data).hexdigest()[: len(wanted[1])] == wanted[1]


def changed_file(file: Place, why: str) -> BrokenTableError:
    """Return the error for a file that is not what was written."""
    return BrokenTableError(
        f"file {file} is not what was written: {why}; bring it back from a backup (`winnow doctor --verify` names all "
        "such files), or run the streams again under another --workspace"
    )


def statistics_json(part: Part) -> str:
    """Return the part's statistics as the Delta log wants them."""
    return json.dumps(
        {
            "numRecords": part.n_rows,
            "minValues": dict(part.low),
            "maxValues": dict(part.high),
            "nullCount": dict.fromkeys(part.low, 0),
        }
    )


def now_ms() -> int:
    """Return milliseconds since 1970."""
    return time.time_ns() // 1_000_000
