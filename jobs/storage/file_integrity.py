"""Verification of data files: their sizes by the log, their bytes by the hashes in their names.

Every read compares sizes, and hashes small files, each once in a process, which takes less than opening them. Pages of
large files have checksums, which the readers of Arrow verify (those of Polars and DuckDB do not). What rewrites rows
hashes files of any size, and so does an export of a release.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from jobs.storage.data_files import changed_file, is_what_its_name_says, source
from jobs.storage.paths import Place

PARQUET = pads.ParquetFileFormat(
    default_fragment_scan_options=pads.ParquetFragmentScanOptions(page_checksum_verification=True)
)
"""The format of data files, read with verification of the checksums of their pages."""

_HASHED_BYTES = 1 << 20
_HASHED_TOGETHER = 8 << 20
_MOST_KEPT = 100_000
_WHOLE: set[tuple[str, int, int, int]] = set()
"""Files whose bytes were hashed: path, size, time of modification (ns) and inode, which a replaced file changes."""


def check_files(folder: Place, sizes: Mapping[str, int], hash_all: bool = False) -> None:
    """Check files of a table on disk, given by their paths below its folder and their sizes by the log (bytes).

    Raises `BrokenTableError` for one that is not what was written. One that is not there is left to its reader.
    """
    at = folder.on_disk()
    if at is None:
        if hash_all:
            for path in sizes:
                _check(folder, path, (folder / path).read())
        return
    hashes_small = sum(sizes.values()) <= _HASHED_TOGETHER
    for path, size in sizes.items():
        file = f"{at}/{path}"
        try:
            found = os.stat(file)  # noqa: PTH116 - a path as an object takes longer to make than the call
        except OSError:
            continue
        if found.st_size != size:
            raise changed_file(folder / path, f"it has {found.st_size:,} bytes, and was written with {size:,}")
        mark = (file, size, found.st_mtime_ns, found.st_ino)
        if mark not in _WHOLE and (hash_all or (hashes_small and size <= _HASHED_BYTES)):
            with open(file, "rb") as handle:
                _check(folder, path, handle.read())
            if len(_WHOLE) >= _MOST_KEPT:
                _WHOLE.clear()
            _WHOLE.add(mark)


def read_verified(
    folder: Place, path: str, size_bytes: int, columns: list[str] | None = None, schema: pa.Schema | None = None
) -> pa.Table:
    """Return the rows of one file of a table, of any size, whose bytes are hashed first.

    Raises `BrokenTableError` for one that is not what was written.
    """
    if not folder.is_remote:
        check_files(folder, {path: size_bytes}, hash_all=True)
    return pq.read_table(source(folder / path), columns=columns, schema=schema, page_checksum_verification=True)


def _check(folder: Place, path: str, data: bytes) -> None:
    if not is_what_its_name_says(path, data):
        raise changed_file(folder / path, "its bytes do not have the hash in its name")
