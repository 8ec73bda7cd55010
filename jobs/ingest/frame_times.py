"""Times of the frames of a folder: by a table, by their names or by EXIF data, with clocks of a time zone."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jobs.ingest.exif_times import exif_times
from jobs.ingest.time_table import TimeTable
from jobs.storage.paths import Place
from transforms.frames.local_time import LocalZone
from transforms.frames.name_pattern import NamePattern
from transforms.frames.numbering import FrameFiles, IngestParams


class FrameTimes(NamedTuple):
    """When frames were taken, in ns since 1970, int64, null where unknown, and what says so.

    `timezone`: in which some of these were local times, None where none were; `n_unclear` of them occur twice or never.
    """

    t_ns: pa.Array
    source: Literal["table", "name", "exif"]
    timezone: str | None = None
    n_unclear: int | None = None


def frame_times(
    folder: Place,
    names: pa.Array,
    frames: FrameFiles,
    pattern: NamePattern,
    table: TimeTable | None,
    params: IngestParams,
) -> FrameTimes | None:
    """Return the times of frames, of shape (N,) in their order, that are known before any frame is measured.

    EXIF data are read here only where sampling or a time zone needs them; the pixel pass reads them in any case. Raises
    `TimeTableError` where the table is of other frames.
    """
    n = len(names)
    if table is not None:
        return _in_zone(FrameTimes(table.of(names), "table"), np.full(n, table.is_local), params.timezone)
    if frames.t_ns is not None:
        is_local = np.full(n, pattern.has_local_times)
        return _in_zone(FrameTimes(pa.array(frames.t_ns), "name"), is_local, params.timezone)
    if not n or (isinstance(params.fps, str) and params.timezone is None):
        return None
    t_ns, is_local = exif_times(folder, names)
    return None if t_ns.null_count == n else _in_zone(FrameTimes(t_ns, "exif"), is_local, params.timezone)


def _in_zone(times: FrameTimes, is_local: npt.NDArray[np.bool_], timezone: str | None) -> FrameTimes:
    """Return times of which local ones are those of clocks in a time zone; without one, they stay as they are."""
    is_local = is_local & times.t_ns.is_valid().to_numpy(zero_copy_only=False)
    if timezone is None or not is_local.any():
        return times
    t_ns = times.t_ns.fill_null(0).to_numpy().copy()
    moments = LocalZone.named(timezone).moments(t_ns[is_local])
    t_ns[is_local] = moments.t_ns
    known = pa.array(t_ns, mask=~times.t_ns.is_valid().to_numpy(zero_copy_only=False))
    return FrameTimes(known, times.source, timezone, moments.n_twice + moments.n_never)
