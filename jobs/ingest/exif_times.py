"""Times of the frames of a folder by the EXIF data of its files, for sampling by time and for time zones."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jobs.core.errors import UserError
from jobs.storage.paths import Place
from transforms.frames.exif_time import ExifTime, exif_time

_READERS = 8
_BEGINNING = 1 << 17
"""Bytes that hold all of the EXIF data of a JPEG, which are at its beginning and at most 64 KiB."""

_JPEG = (".jpg", ".jpeg")


def exif_times(folder: Place, names: pa.Array) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    """Return when each of N files was taken, in ns since 1970, int64, and which of these times are local ones.

    A time is null where a file's EXIF data do not say it.
    """
    with ThreadPoolExecutor(_READERS) as readers:
        found = list(readers.map(lambda name: _time_of(folder / name, name), names.to_pylist()))
    times = pa.array([None if each is None else each.t_ns for each in found], pa.int64())
    return times, np.array([each is not None and each.is_local for each in found], np.bool_)


def _time_of(file: Place, name: str) -> ExifTime | None:
    try:
        path = file.on_disk()
        if path is None or not name.lower().endswith(_JPEG):
            return exif_time(file.read())
        with path.open("rb") as opened:
            return exif_time(opened.read(_BEGINNING))
    except (OSError, UserError):
        # A file that cannot be read has no time; the run quarantines it.
        return None
