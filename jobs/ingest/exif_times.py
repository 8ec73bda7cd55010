"""Times of the frames of a folder by the EXIF data of its files, for sampling by time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from jobs.core.errors import UserError
from jobs.storage.paths import Place
from transforms.frames.exif_time import exif_time_ns

_READERS = 8
_BEGINNING = 1 << 17
"""Bytes that hold all of the EXIF data of a JPEG, which are at its beginning and at most 64 KiB."""

_JPEG = (".jpg", ".jpeg")


def exif_times(folder: Place, names: pa.Array) -> pa.Array:
    """Return when each of N files was taken, in ns since 1970, int64; null where its EXIF data do not say so."""
    with ThreadPoolExecutor(_READERS) as readers:
        found = list(readers.map(lambda name: _time_of(folder / name, name), names.to_pylist()))
    return pa.array(found, pa.int64())


def _time_of(file: Place, name: str) -> int | None:
    try:
        path = file.on_disk()
        if path is None or not name.lower().endswith(_JPEG):
            return exif_time_ns(file.read())
        with path.open("rb") as opened:
            return exif_time_ns(opened.read(_BEGINNING))
    except (OSError, UserError):
        # A file that cannot be read has no time; the run quarantines it.
        return None
