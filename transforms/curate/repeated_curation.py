"""Curation of the same frames again and again with other thresholds, by the functions of `curation`.

What does not depend on thresholds is computed once: the order of worth, which intervals and groups there are, and which
frames are in none, about which their own measures decide alone. Of the others, those intervals and groups are decided
again in which a frame became sound or flawed.
"""

# The parts of `curate` are used as it uses them; under other names they would be other code, and all stages of users.
# ruff: noqa: SLF001

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from transforms.curate import curation
from transforms.curate.curation import MEASURED, REASONS, CurationParams

Bools = npt.NDArray[np.bool_]

_OWN = ("corrupt", "damaged", "blurry", "dark", "overexposed", "low_information")
_OF_OTHERS = tuple(name for name in REASONS if name not in _OWN)
_MEASURES = ("stream", "decodable", "damaged_data", *MEASURED)


@dataclass(frozen=True)
class FrameReasons:
    """Frames in order of stream and number, and of each the reasons to drop it as bits, uint16, shape (N,).

    `streams` are names, sorted; `stream`, int64, the place of each frame's among them; `frame_idx` its number, int64.
    Bit k is that of `REASONS[k]`.
    """

    streams: list[str]
    stream: npt.NDArray[np.int64]
    frame_idx: npt.NDArray[np.int64]
    bits: npt.NDArray[np.uint16]


@dataclass(frozen=True)
class _Decided:
    """The last decision: which frames are sound, shape (N,), and marks of those in intervals and groups, shape (M,)."""

    rules: Any
    sound: Bools
    marks: dict[str, Bools]


class RepeatedCuration:
    """Decides as `curate` does. Not for several threads at once."""

    def __init__(self, frames: pa.Table, blur_method: str) -> None:
        """Prepare decisions about frames of schema `INPUT`, as they are given to `curate`."""
        rows = curation._numbered(frames).sort("stream", "frame_idx")
        self._method = blur_method
        names = sorted(frames["stream_id"].unique().to_pylist())
        # Ranks begin at 1; of names that no frame has, there are some in a dictionary.
        place, stream = np.unique(rows["stream"].to_numpy(), return_inverse=True)
        assert len(place) == len(names)
        self.streams, self.stream = names, stream.astype(np.int64)
        self.frame_idx = rows["frame_idx"].to_numpy().copy()
        self._measures = rows.select(_MEASURES)
        bound = rows.select(
            "interval",
            "content_id",
            group=pl.when(pl.len().over("group") > 1).then("group"),
            worth=pl.Series(curation._worth(rows)),
        )
        bound = bound.with_row_index("row").filter(pl.col("interval").is_not_null() | pl.col("group").is_not_null())
        self._row = bound["row"].to_numpy().astype(np.int64)
        self._interval, self._group = _codes(bound["interval"]), _codes(bound["group"])
        self._bound = bound.select("interval", "group", "content_id", "worth")
        self._last: _Decided | None = None

    @property
    def measures(self) -> pl.DataFrame:
        """Return the columns `MEASURED` of all frames."""
        return self._measures.select(MEASURED)

    @property
    def n_bytes(self) -> int:
        """Return the memory of what is kept between decisions."""
        arrays = (self.stream, self.frame_idx, self._row, self._interval, self._group)
        frames = (self._measures, self._bound)
        return sum(array.nbytes for array in arrays) + sum(int(frame.estimated_size()) for frame in frames)

    def decide(self, params: CurationParams, idle_keep: int) -> FrameReasons:
        """Return the reasons that `curate` gives with these parameters."""
        rows = self._measures.with_columns(*curation._exposure(params))
        rows = curation._with_blur(rows, params, params.blur_limits(self._method))
        own = rows.select(
            bits=pl.sum_horizontal(pl.col(name).cast(pl.UInt16) * 2 ** REASONS.index(name) for name in _OWN),
            measured=pl.col("luma_mean").is_not_null(),
        )
        bits = own["bits"].to_numpy().astype(np.uint16)
        sound = (bits == 0) & own["measured"].to_numpy()
        rules = (idle_keep, frozenset(params.ignore) & set(_OF_OTHERS))
        if self._last is not None and self._last.rules == rules:
            marks = {name: mark.copy() for name, mark in self._last.marks.items()}
            changed = (sound != self._last.sound)[self._row]
        else:
            marks = {name: np.zeros(len(self._row), np.bool_) for name in (*_OF_OTHERS, "stands")}
            changed = np.ones(len(self._row), np.bool_)
        self._mark(marks, changed, sound, params, idle_keep)
        self._last = _Decided(rules, sound, marks)
        for name in _OF_OTHERS:
            bits[self._row] |= marks[name].astype(np.uint16) << REASONS.index(name)
        return FrameReasons(self.streams, self.stream, self.frame_idx, bits)

    def _mark(
        self, marks: dict[str, Bools], changed: Bools, sound: Bools, params: CurationParams, idle_keep: int
    ) -> None:
        """Decide the intervals and groups of what changed, whole ones, and set their marks."""
        mine = sound[self._row]
        at = _all_of(self._interval, changed)
        found = self._bound[at].with_columns(sound=pl.Series(mine[at]))
        found = found.select(*curation._idle(idle_keep, "idle" in params.ignore))
        for name in ("idle", "stands"):
            marks[name][at] = found[name].to_numpy()
        changed = changed.copy()
        changed[at] = True
        at = _all_of(self._group, changed)
        # As in `curate`: what has a reason comes after all that has none.
        claim = self._bound["worth"].to_numpy()[at] + (marks["idle"][at] | ~mine[at]) * len(sound)
        found = self._bound[at].with_columns(claim=pl.Series(claim), stands=pl.Series(marks["stands"][at]))
        found = found.select(*curation._duplicates(params))
        for name in ("exact_duplicate", "near_duplicate"):
            marks[name][at] = found[name].to_numpy()


def _codes(values: pl.Series) -> npt.NDArray[np.int64]:
    """Return a number from 0 on for each different value, and -1 for null, int64, shape (M,)."""
    return values.rank("dense").cast(pl.Int64).fill_null(0).to_numpy() - 1


def _all_of(codes: npt.NDArray[np.int64], changed: Bools) -> npt.NDArray[np.intp]:
    """Return the places of all whose code is that of something that changed."""
    hit = np.zeros(int(codes.max(initial=-1)) + 2, np.bool_)
    hit[codes[changed]] = True
    hit[-1] = False
    return np.flatnonzero(hit[codes])
