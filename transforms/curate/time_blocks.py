"""Splits by time: blocks of a stream, their lengths, and the guard gap between blocks of different splits."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

_BLOCKS_OF_THE_SMALLEST = 2
_GUARDS_OF_A_BLOCK = 4
LEAST_GUARD_STEPS = 2
"""Usual distances of consecutive frames that a guard gap has at least by default."""
_SECONDS = {"s": 1, "min": 60, "h": 3600}
_TEXT = re.compile(r"(\d+(?:\.\d+)?) *(s|min|h|frames)?")


@dataclass(frozen=True)
class Length:
    """A length of time, in frames (differences of frame numbers) or in seconds.

    >>> Length.parse("90s"), Length.parse("1.5 min"), Length.parse("40")
    (Length(value=90.0, unit='seconds'), Length(value=90.0, unit='seconds'), Length(value=40, unit='frames'))
    >>> str(Length.parse("40")), str(Length.parse("90s"))
    ('40 frames', '90 s')
    """

    value: float
    unit: Literal["frames", "seconds"] = "frames"

    @classmethod
    def parse(cls, text: str) -> Length:
        """Return the length that a text gives: frames, or a number with `s`, `min` or `h`. Raises `ValueError`."""
        found = _TEXT.fullmatch(text.strip())
        if found and found[2] in _SECONDS:
            return cls(float(found[1]) * _SECONDS[found[2]], "seconds")
        if found and float(found[1]).is_integer():
            return cls(int(float(found[1])))
        raise ValueError(f"expected whole frames or a time, as in 250, 90s or 5min, found {text!r}")

    def __str__(self) -> str:
        """Return the length as people write it."""
        return f"{self.value:g} {'s' if self.unit == 'seconds' else 'frames'}"


def default_block(span: float, least_guard: float, smallest: float) -> float:
    """Return the length of a block, in the unit of `span` and `least_guard`.

    `span` is the length of the stream, `smallest` the fraction of the smallest split, of which a stream should have at
    least two blocks. The length is 1, 2 or 5 times a power of ten, so that it seldom changes while a stream grows, but
    at least four times `least_guard`.
    """
    wanted = span * smallest / _BLOCKS_OF_THE_SMALLEST
    scale = 10.0 ** math.floor(math.log10(wanted)) if wanted > 0 else 0.0
    round_ = next((factor * scale for factor in (5, 2) if factor * scale <= wanted), scale)
    return max(round_, _GUARDS_OF_A_BLOCK * least_guard)


def nearest_distance(frames: pl.DataFrame, others: pl.DataFrame, by: Sequence[str] = ("stream_id",)) -> pl.Series:
    """Return for each of N frames the distance to the nearest of some others of its stream; null where it has none.

    Both have `position` and the columns `by`, whose values have to be equal; the result has the type of `position` and
    the order of `frames`.
    """
    by, columns = list(by), [*by, "position"]
    numbered = frames.select(columns).with_row_index("row")
    there = others.select(*columns, nearest="position").sort(columns)
    found = numbered.sort(columns).join_asof(there, on="position", by=by, strategy="nearest", check_sortedness=False)
    return found.sort("row").select((pl.col("position") - pl.col("nearest")).abs().alias("distance"))["distance"]


def left_out_at_borders(
    frames: pl.DataFrame, tracks: pl.DataFrame, fractions: Mapping[str, float]
) -> tuple[pl.Series, pl.Series]:
    """Return which of N frames to leave out so that splits are apart in time: near a border, and for a shared track.

    `frames` has `stream_id`, `position`, `guard` (the least distance between frames of different splits; null for
    none), `split`, and `given` (frames that stay at any distance). `tracks` has `row` (position in `frames`)
    and `track`, of tracks that must not be in two splits. The larger a split, the sooner its frames give way.
    """
    rows = frames.with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))
    stays = rows.filter(pl.col("given") | pl.col("guard").is_null())
    near: list[int] = []
    shared: list[int] = []
    for split in smallest_first(fractions):
        mine = rows.filter(pl.col("split") == split, ~pl.col("given"), pl.col("guard").is_not_null())
        others = stays.filter(pl.col("split") != split)
        is_near = (nearest_distance(mine, others) < mine["guard"]).fill_null(False)
        near += mine.filter(is_near)["row"].to_list()
        mine = mine.filter(~is_near)
        theirs = tracks.join(others.select("row"), on="row", how="semi").select("track").unique()
        crossing = tracks.join(theirs, on="track", how="semi").select("row").unique()
        shared += mine.join(crossing, on="row", how="semi")["row"].to_list()
        stays = pl.concat([stays, mine.join(crossing, on="row", how="anti")])
    return tuple(rows["row"].is_in(some) for some in (near, shared))  # type: ignore[return-value]


def smallest_first(fractions: Mapping[str, float]) -> Sequence[str]:
    """Return the names of splits, the smallest first, and of equal ones the last-named first."""
    names = list(fractions)
    return sorted(names, key=lambda name: (fractions[name], -names.index(name)))
