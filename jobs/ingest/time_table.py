"""Tables with the times of frames: CSV files with names and times, or one time per line."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass

import pyarrow as pa

from jobs.storage.paths import Place, place
from transforms.frames.name_pattern import EXTENSIONS
from transforms.frames.name_times import find_times
from transforms.frames.time_format import TimeFormat

_SUFFIX = re.compile(rf"\.(?:{'|'.join(EXTENSIONS)})$", re.IGNORECASE)
_TIME_NAMES = ("t_ns", "timestamp", "time", "datetime", "date_time", "t", "time_ns", "date")
_MOST_BYTES = 1 << 30


class TimeTableError(ValueError):
    """Times of frames are not known, or a table of them cannot be read; its text is for the user."""


@dataclass(frozen=True)
class TimeTable:
    """Times in ns since 1970 by name of file without extension, or by place if `names` is None.

    They are local ones (`is_local`) where they are dates without an offset from UTC.
    """

    path: str
    names: dict[str, int] | None
    times: list[int]
    is_local: bool

    def of(self, names: pa.Array) -> pa.Array:
        """Return the times of frames, int64, null where the table has none. Raises `TimeTableError`."""
        if self.names is not None:
            return pa.array([self.names.get(_SUFFIX.sub("", name)) for name in names.to_pylist()], pa.int64())
        if len(self.times) != len(names):
            raise TimeTableError(
                f"{self.path} has {len(self.times):,} times and no names, for {len(names):,} frames; expected one line "
                "per frame, in order, or a column with the names of files"
            )
        return pa.array(self.times, pa.int64())


def read_times(given: str, folder: Place) -> TimeTable:
    """Return the table of a folder's times: a path, or a name in the folder or in the one above.

    Raises `TimeTableError` with what was expected and found.
    """
    at = _find(given, folder)
    try:
        text = at.read().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise TimeTableError(f"ingest.times={given}: {at} cannot be read: {error}") from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    rows = [row for row in _rows([line for line in lines if not line.startswith("#")]) if row]
    head = [cell.strip("# ").lower() for cell in next(iter(_rows(lines[:1])), [])] if lines else []
    if not rows:
        raise TimeTableError(f"ingest.times={given}: {at} is empty; expected lines such as image_0.jpg,1705314647.25")
    width = len(rows[-1])
    columns = [[row[at].strip() if at < len(row) else "" for row in rows] for at in range(width)]
    with_names = next((c for c in range(width) if _SUFFIX.search(columns[c][-1])), None)
    choices = [c for c in range(width) if c != with_names]
    choices.sort(
        key=lambda c: _TIME_NAMES.index(head[c]) if c < len(head) and head[c] in _TIME_NAMES else len(_TIME_NAMES)
    )
    for choice in choices:
        for first in (0, 1):
            read = _times(columns[choice][first:])
            if read is not None:
                times, is_local = read
                names = None
                if with_names is not None:
                    files = [_SUFFIX.sub("", re.split(r"[/\\]", name)[-1]) for name in columns[with_names][first:]]
                    names = dict(zip(files, times, strict=True))
                return TimeTable(str(at), names, times, is_local)
    raise TimeTableError(
        f"ingest.times={given}: no column of {at} holds times; expected numbers since 1970 in seconds, milliseconds, "
        f"microseconds or nanoseconds, or dates such as 2024-01-15T10:30:47.123; found {','.join(rows[-1])!r}"
    )


def _find(given: str, folder: Place) -> Place:
    if "://" in given or given.startswith(("/", "~")):
        return place(given)
    tried = [folder / given, folder.parent / given]
    for at in tried:
        if at.exists():
            return at
    raise TimeTableError(f"ingest.times={given}: there is no {tried[0]}, nor {tried[1]}")


def _rows(lines: list[str]) -> list[list[str]]:
    """Return the cells of lines that are divided by tabs, semicolons, commas or, without any of these, by spaces."""
    sample = lines[-1] if lines else ""
    sign = next((sign for sign in "\t;," if sign in sample), None)
    if sign is None:
        # Times may hold one space, between date and time of day.
        if sample and _times([sample]) is not None:
            return [[line] for line in lines]
        return [line.split() for line in lines]
    return list(csv.reader(lines, delimiter=sign))


def _times(texts: list[str]) -> tuple[list[int], bool] | None:
    """Return texts as ns since 1970, and whether they are local times; None if some of them are no times."""
    if not texts:
        return None
    # A fraction without its last zeros is the same fraction.
    stems = pa.array([re.sub(r"(?<=\.)([0-9]{1,9})$", lambda f: f[1].ljust(9, "0"), text) for text in texts])
    for reading in find_times(stems):
        alone = all(not b.as_py() and not a.as_py() for b, a in zip(reading.before, reading.after, strict=True))
        if alone and len(reading.at) == len(texts):
            form = TimeFormat.parse(reading.format)
            return [int(tick) * (10**9 // form.per_second) for tick in reading.ticks], form.is_local
    return None
