"""Contact sheets of the report: frames by verdict, groups of duplicates, and frames with their objects."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from jobs.views.overridden_verdicts import ALL_REASONS
from transforms.frames.frame_image import picture_of, thumbnail_of
from transforms.frames.image import CorruptImageError
from transforms.frames.overlay import outlined

_SIDE = 448
"""Longer side of an image of a sheet, in pixels: it is shown smaller, and at this size when it is enlarged."""
_PER_SHEET = 24
_GROUPS = 8
_PER_GROUP = 6


@dataclass(frozen=True)
class Thumb:
    """One image of a contact sheet; `data` is a data URI, None if the file cannot be shown."""

    label: str
    data: str | None


@dataclass(frozen=True)
class Sheet:
    """The images of some frames: what they have in common, how many there are, and some of them."""

    name: str
    n: int
    thumbs: list[Thumb]


def by_verdict(frames: pl.DataFrame, readers: ThreadPoolExecutor) -> Iterator[Sheet]:
    """Return a sheet of kept frames, and one of each reason for which frames were dropped."""
    kept = frames.filter("keep")
    if kept.height:
        yield Sheet("kept", kept.height, _thumbs(spread(kept, _PER_SHEET), readers))
    for reason in ALL_REASONS:
        found = frames.filter(pl.col("reasons").list.contains(reason))
        if found.height:
            yield Sheet(reason, found.height, _thumbs(spread(found, _PER_SHEET), readers))


def of_groups(frames: pl.DataFrame, readers: ThreadPoolExecutor) -> Iterator[Sheet]:
    """Return the largest groups of duplicates."""
    sizes = frames.drop_nulls("group_id").group_by("group_id").len().filter(pl.col("len") > 1)
    for group, n in sizes.sort(["len", "group_id"], descending=[True, False]).head(_GROUPS).iter_rows():
        members = frames.filter(pl.col("group_id") == group).sort(
            ["keep", "is_representative", "stream_id", "frame_idx"], descending=[True, True, False, False]
        )
        yield Sheet(group, n, _thumbs(members.head(_PER_GROUP), readers))


def with_objects(frames: pl.DataFrame, readers: ThreadPoolExecutor) -> list[Thumb]:
    """Return frames with boxes.

    `frames` has `stream_id`, `frame_idx`, `uri`, `width`, `height`, `boxes` (left, top, width and height of each
    object) and `colors` (red, green and blue of each).
    """
    return list(readers.map(_with_boxes, frames.iter_rows(named=True)))


def spread(rows: pl.DataFrame, n: int) -> pl.DataFrame:
    """Return at most `n` rows, evenly spaced."""
    return rows if rows.height <= n else rows.gather([i * rows.height // n for i in range(n)])


def _thumbs(rows: pl.DataFrame, readers: ThreadPoolExecutor) -> list[Thumb]:
    return list(readers.map(_thumb, rows.select("stream_id", "frame_idx", "uri", "keep").iter_rows()))


def _thumb(row: tuple[str, int, str, bool]) -> Thumb:
    stream, index, uri, keep = row
    # The number comes first, since labels are truncated at the end.
    label = f"{index}{' kept,' if keep else ''} {stream}"
    try:
        return Thumb(label, _data(thumbnail_of(uri, _SIDE)))
    except (OSError, CorruptImageError):
        return Thumb(label, None)


def _with_boxes(row: dict[str, object]) -> Thumb:
    label = f"{row['frame_idx']} {row['stream_id']}"
    boxes: npt.NDArray[np.float32] = np.array(row["boxes"], np.float32).reshape(-1, 4)
    colors: npt.NDArray[np.uint8] = np.array(row["colors"], np.uint8).reshape(-1, 3)[:, ::-1]
    try:
        picture = picture_of(str(row["uri"]), _SIDE)
        size = (int(str(row["width"])), int(str(row["height"])))
        return Thumb(label, _data(outlined(picture, boxes, colors, size, _SIDE)))
    except (OSError, CorruptImageError):
        return Thumb(label, None)


def _data(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
