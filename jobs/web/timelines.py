"""A stream over its numbers or its time, in bins: frames, kept, reasons, measures, and intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
import pyarrow.compute as pc

from jobs.core.errors import UserError
from jobs.web.frame_columns import NO_TIME, Array
from jobs.web.plain import number, utc
from jobs.web.project_data import Shown
from transforms.frames.clip import KEY_PATTERN

By = Literal["number", "time"]
CURVES = ("motion", "sharpness", "luma")
_USUAL = 1.5


@dataclass(frozen=True)
class Axis:
    """Equal bins from `first` to `last`, both included, on numbers or on nanoseconds since 1970.

    Borders are computed in whole numbers, so that no bin is between two values that follow each other.
    """

    first: int
    last: int
    bins: int

    @classmethod
    def of(cls, first: int, last: int, step: int, most: int) -> Axis:
        """Return an axis of at most so many bins, none of which is narrower than `step`, so that none is void."""
        return cls(first, last, max(1, min(most, (last + 1 - first) // max(1, step))))

    @property
    def span(self) -> int:
        """Return how many values there are."""
        return self.last + 1 - self.first

    def borders(self) -> list[int]:
        """Return the first value of each bin, and the one after the last bin."""
        # Rounded up: a value v is in bin (v - first) * bins // span.
        return [self.first - (-at * self.span // self.bins) for at in range(self.bins + 1)]

    def place(self, value: int) -> float:
        """Return where a value is, in bins."""
        return min(max((value - self.first) * self.bins / self.span, 0.0), float(self.bins))


def timeline(shown: Shown, stream: dict[str, Any], by: By, most: int) -> dict[str, Any]:
    """Return a stream, given its row of `streams`, in at most so many bins.

    Raises `UserError` for one by time whose frames have none.
    """
    table = shown.frames
    name = stream["stream_id"]
    rows = table.keys.rows_of(name)
    numbers = table.keys.numbers[rows]
    order: Array | None = None
    values = numbers
    if by == "time":
        times = table.column("time")[rows]
        timed = np.flatnonzero(times != NO_TIME)
        if len(numbers) and not len(timed):
            raise UserError(f"stream {name}: no time is known of its frames; ask for it by number")
        order = timed[np.argsort(times[timed], kind="stable")]
        values = times[order]
    if not len(values):
        return _empty(name, by)
    step = int(stream["step"] or 1) if by == "number" else _usual_step(values)
    axis = Axis.of(int(values[0]), int(values[-1]), step, most)
    borders = np.searchsorted(values, np.array(axis.borders()[:-1], np.int64))
    ends = np.append(borders[1:], len(values))
    picked: Any = rows if order is None else order + rows.start
    shown_numbers = numbers if order is None else numbers[order]
    found = _bins(shown, picked, shown_numbers, borders, ends, _keyframes(shown, stream, shown_numbers))
    places = _Places(axis, numbers, None if order is None else times)
    shown_value = number if by == "number" else utc
    return {
        "stream_id": name,
        "by": by,
        "start": shown_value(axis.first),
        "end": shown_value(axis.last),
        "bins": axis.bins,
        **found,
        "idle": places.of(_intervals(shown, "idle", name)),
        "scenes": places.of(_intervals(shown, "scenes", name)),
        "gaps": places.of_gaps([(gap["start"], gap["end"]) for gap in stream["gaps"] or ()], step),
    }


def _empty(name: str, by: By) -> dict[str, Any]:
    curves: dict[str, list[float]] = {curve: [] for curve in CURVES}
    nothing: dict[str, Any] = {"frames": [], "kept": [], "reasons": {}, "curves": curves, "at": []}
    intervals: dict[str, Any] = {"idle": [], "scenes": [], "gaps": []}
    return {"stream_id": name, "by": by, "start": None, "end": None, "bins": 0, **nothing, **intervals}


def _keyframes(shown: Shown, stream: dict[str, Any], numbers: Array) -> Array:
    """Return the places of the frames of a clip that decode without others, in order; of none for files."""
    if stream["kind"] != "video":
        return np.empty(0, np.int64)
    rows = shown.frames.rows_of(stream["stream_id"], ("frame_idx", "uri"))
    parts = pc.extract_regex(rows["uri"], KEY_PATTERN)
    place, key = (pc.struct_field(parts, name) for name in ("pts", "key"))
    packet = pc.struct_field(parts, "packet")
    named = pc.if_else(pc.equal(packet, ""), place, packet)
    alone = rows["frame_idx"].filter(pc.equal(named, key)).to_numpy()
    return np.flatnonzero(np.isin(numbers, alone))


def _nearest(places: Array, middle: Array, borders: Array, ends: Array) -> Array:
    """Return for each bin the one of some places, in order, that is nearest to its middle; the middle without any."""
    if not len(places):
        return middle
    after = np.searchsorted(places, middle)
    found = middle.copy()
    distance = np.full(len(middle), np.iinfo(np.int64).max)
    for side in (np.maximum(after - 1, 0), np.minimum(after, len(places) - 1)):
        at = places[side]
        away = np.abs(at - middle)
        better = (at >= borders) & (at < ends) & (away < distance)
        found[better], distance[better] = at[better], away[better]
    return found


def _bins(shown: Shown, rows: Any, numbers: Array, borders: Array, ends: Array, keyframes: Array) -> dict[str, Any]:
    table = shown.frames
    n = ends - borders
    verdicts = table.verdicts
    bits = verdicts.bits[rows]
    reasons = {}
    for at, name in enumerate(verdicts.names):
        has = (bits >> (2 + at)) & 1
        if has.any():
            reasons[name] = _sums(has, borders, ends).tolist()
    # What decodes without others is there at once while somebody drags along.
    middle = _nearest(keyframes, np.where(n > 0, borders + n // 2, 0), borders, ends)
    at_numbers = numbers[middle].tolist()
    return {
        "frames": n.tolist(),
        "kept": _sums(bits & 1, borders, ends).tolist(),
        "reasons": reasons,
        "curves": {name: _means(table.column(name)[rows], borders, ends) for name in CURVES},
        "at": [number(value) if there else None for value, there in zip(at_numbers, n.tolist(), strict=True)],
    }


def _sums(values: Array, borders: Array, ends: Array) -> Array:
    total = np.zeros(len(values) + 1, np.int64)
    np.cumsum(values, out=total[1:])
    found: Array = total[ends] - total[borders]
    return found


def _means(values: Array, borders: Array, ends: Array) -> list[float | None]:
    """Return the mean of the known values of each bin; None where none is known."""
    known = np.isfinite(values)
    total = np.zeros(len(values) + 1)
    np.cumsum(np.where(known, values, 0), out=total[1:], dtype=np.float64)
    n = _sums(known, borders, ends)
    sums = total[ends] - total[borders]
    return [round(float(s / m), 6) if m else None for s, m in zip(sums, n, strict=True)]


def _usual_step(times: Array) -> int:
    steps = np.diff(times)
    steps = steps[steps > 0]
    return int(np.median(steps) * _USUAL) if len(steps) else 1


def _intervals(shown: Shown, table: str, stream: str) -> list[tuple[int, int]]:
    rows = shown.view.lazy(table).filter(pl.col("stream_id") == stream).select("start_idx", "end_idx")
    return sorted(rows.collect().iter_rows())


class _Places:
    """Where frame numbers are on an axis: of numbers, or of the times of frames."""

    def __init__(self, axis: Axis, numbers: Array, times: Array | None) -> None:
        self._axis = axis
        self._numbers = numbers
        self._times = times

    def of(self, intervals: Sequence[tuple[int, int]]) -> list[list[float]]:
        """Return intervals of frame numbers, both ends included, as positions in bins."""
        return [[round(self._at(first), 4), round(self._at(last + 1), 4)] for first, last in intervals]

    def of_gaps(self, gaps: Sequence[tuple[int, int]], step: int) -> list[list[float]]:
        """Return intervals without any frame; by time, from a step after the frame before each."""
        if self._times is None:
            return self.of(gaps)
        found = []
        for first, last in gaps:
            before = self._times[max(0, int(np.searchsorted(self._numbers, first)) - 1)]
            if before != NO_TIME:
                found.append([round(self._axis.place(int(before) + step), 4), round(self._at(last + 1), 4)])
        return [[low, high] for low, high in found if low < high]

    def _at(self, value: int) -> float:
        if self._times is None:
            return self._axis.place(value)
        # The time of the first frame of this number or a later one, of those of which a time is known.
        at = int(np.searchsorted(self._numbers, value))
        later = np.flatnonzero(self._times[at : at + 1000] != NO_TIME)
        return self._axis.place(int(self._times[at + later[0]])) if len(later) else float(self._axis.bins)
