"""How the names in a folder are read: as the user says, as they were read before, or as they look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from jobs.storage.store import Snapshot
from transforms.frames.name_finder import UnclearNamesError, find_pattern
from transforms.frames.name_pattern import LAST_NUMBER, FrameNameError, NamePattern
from transforms.frames.numbering import FrameFiles, are_images, divide_files

MOST_LEFT_OUT = 0.1
"""The share of images with numbers in their names, from which on a reading that leaves them out is not believed."""
_SHOWN = 3


class NameReading(NamedTuple):
    """How the names of a folder are read, and the frames of each stream in it, by that stream's name in the pattern.

    `left_out` are images with numbers in their names that the pattern does not fit. `other`: the pattern that would be
    found now, where the folder keeps that of before, by which its frames have other numbers.
    """

    pattern: NamePattern
    streams: dict[str, FrameFiles]
    left_out: list[str]
    other: NamePattern | None = None


def read_names(names: pa.Array, glob: str, given: str | None, before: str | None, listed: pl.DataFrame) -> NameReading:
    """Return how names are read.

    `given` is the pattern that the user gives, `before` that by which the folder was read last, and `listed` has
    `name`, `frame_idx` and `part` of its frames then. A folder that was read before keeps its numbers: another pattern
    is found only where it gives all of these frames the same ones. Raises `FrameNameError`, with words for the user,
    where names cannot be read, or can be read in several ways.
    """
    if given is not None:
        return _reading(names, glob, NamePattern.parse(given))
    known = NamePattern.parse(before) if before else LAST_NUMBER if listed.height else None
    if known is not None and before:
        reading = _reading(names, glob, known)
        if not reading.left_out:
            return reading._replace(other=_other(names, glob, known, listed))
    images = names.filter(are_images(names, glob))
    try:
        found = find_pattern(images)
    except UnclearNamesError as error:
        if known is None:
            raise FrameNameError(_unclear(names, glob, error.patterns)) from error
        found = known
    reading = _reading(names, glob, found or LAST_NUMBER)
    if known is not None and found != known and not _agrees(reading, names, listed):
        return _checked(_reading(names, glob, known), images, found)._replace(other=found)
    return _checked(reading, images, None)


def _other(names: pa.Array, glob: str, known: NamePattern, listed: pl.DataFrame) -> NamePattern | None:
    """Return the pattern by which frames that were read by their last number would have other ones; None for none."""
    if known != LAST_NUMBER:
        return None
    try:
        found = find_pattern(names.filter(are_images(names, glob)))
    except UnclearNamesError:
        return None
    is_other = found is not None and found != known and not _agrees(_reading(names, glob, found), names, listed)
    return found if is_other else None


def holds_frames(names: pa.Array, glob: str, given: str | None) -> bool:
    """Return whether there are frames among files of these names."""
    try:
        if given is not None:
            return bool(divide_files(names, glob, NamePattern.parse(given)))
        found = LAST_NUMBER if divide_files(names, glob, LAST_NUMBER) else None
        found = found or find_pattern(names.filter(are_images(names, glob)))
        # A number in the middle of one name may be anything, such as the size of an icon.
        streams = {} if found is None else divide_files(names, glob, found)
        n_frames = sum(len(files.chosen) + len(files.repeated) for files in streams.values())
    except (FrameNameError, UnclearNamesError):
        return True
    return found is not None and (n_frames > 1 or (n_frames > 0 and (found == LAST_NUMBER or found.has_times)))


def _reading(names: pa.Array, glob: str, pattern: NamePattern) -> NameReading:
    streams = divide_files(names, glob, pattern)
    is_left = are_images(names, glob).to_numpy(zero_copy_only=False).copy()
    for files in streams.values():
        is_left[files.chosen] = False
    repeated = {name for files in streams.values() for names_ in files.repeated.values() for name in names_}
    left = names.filter(pa.array(is_left))
    left = left.filter(pc.match_substring_regex(left, r"[0-9].*\."))
    return NameReading(pattern, streams, [name for name in left.to_pylist() if name not in repeated])


def _agrees(reading: NameReading, names: pa.Array, listed: pl.DataFrame) -> bool:
    """Return whether a reading gives frames that were listed before, and are still there, their numbers."""
    now = [
        pl.DataFrame({"name": pl.Series(names.take(pa.array(files.chosen))), "new": files.frame_idx}).with_columns(
            new_part=pl.lit(part)
        )
        for part, files in reading.streams.items()
    ]
    clashing = [name for files in reading.streams.values() for again in files.repeated.values() for name in again]
    if clashing:
        return False
    there = listed.filter(pl.col("name").is_in(pl.Series(names.to_pylist(), dtype=pl.String).implode()))
    both = there.join(pl.concat(now), on="name") if now else there.clear()
    if both.height < there.height:
        return False
    return bool(((both["frame_idx"] == both["new"]) & (both["part"].fill_null("") == both["new_part"])).all())


def _checked(reading: NameReading, images: pa.Array, other: NamePattern | None) -> NameReading:
    """Return a reading, unless it leaves many images out; then raise `FrameNameError`."""
    n_numbered = pc.sum(pc.match_substring_regex(images, r"[0-9].*\.")).as_py() or 0
    if not reading.streams or len(reading.left_out) <= MOST_LEFT_OUT * n_numbered:
        return reading
    shown = ", ".join(repr(name) for name in reading.left_out[:_SHOWN])
    fix = f"--set ingest.name='{other.text if other else 'PATTERN'}'"
    raise FrameNameError(
        f"{len(reading.left_out):,} of {n_numbered:,} images have names that do not fit {reading.pattern.text!r}, as "
        f"the others are read, such as {shown}; say how names are read with {fix}, or choose files with "
        "--set ingest.glob=PATTERN"
    )


def _unclear(names: pa.Array, glob: str, patterns: Sequence[NamePattern]) -> str:
    ways = [f"ingest.name='{pattern.text}' ({_first(names, glob, pattern)})" for pattern in patterns]
    return f"names can be read in {len(ways)} ways; choose one with --set: {', or '.join(ways)}"


def _first(names: pa.Array, glob: str, pattern: NamePattern) -> str:
    """Return the first names in the order that a pattern gives them, for each of the first streams."""
    texts = []
    for stream, files in list(divide_files(names, glob, pattern).items())[:2]:
        first = names.take(pa.array(files.chosen[:_SHOWN])).to_pylist()
        texts.append((f"stream {stream}: " if stream else "") + ", ".join(first or ["numbers clash"]))
    return "; ".join(texts)


def listed_names(seen: Snapshot, streams: dict[str, str | None], folder: str) -> pl.DataFrame:
    """Return `name`, `frame_idx` and `part` of the frames that the table `listing` has of a folder's streams."""
    if not streams:
        return pl.DataFrame(schema={"name": pl.String, "frame_idx": pl.Int64, "part": pl.String})
    rows = pl.DataFrame(seen.read(("stream_id", "frame_idx", "uri"), streams=frozenset(streams)))
    parts = pl.DataFrame(
        {"stream_id": list(streams), "part": list(streams.values())}, {"stream_id": pl.String, "part": pl.String}
    )
    start = len(folder) + 1
    return rows.join(parts, on="stream_id").select(pl.col("uri").str.slice(start).alias("name"), "frame_idx", "part")
