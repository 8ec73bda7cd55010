"""Axes of charts: scales of values, and positions of frames by their numbers or by their times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_DECADES = 4
_TICKS = 6
_SECOND = 1_000_000_000
_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
# Times of recordings: presentation times of clips begin near zero.
_FIRST_DATE_NS = 365 * 86_400 * _SECOND


class Limit(NamedTuple):
    """A threshold: its value, and the name of what it limits."""

    value: float
    name: str = ""

    @property
    def label(self) -> str:
        """Return the name, if any, and the value."""
        return f"{self.name} {number_text(self.value)}".strip()


class Tick(NamedTuple):
    """A label of an axis, at a share of its length, 0 to 1."""

    share: float
    text: str


class Scale(NamedTuple):
    """A linear or logarithmic axis of values; values outside are drawn at its ends."""

    low: float
    high: float
    log: bool

    @classmethod
    def of(
        cls, values: Array, limits: Sequence[Limit], log: bool = False, bounds: tuple[float, float] | None = None
    ) -> Scale:
        """Return a scale for all values, shape (N,), and limits, with round ends.

        With `bounds` it has these ends. If logarithmic it spans at most four powers of ten, otherwise it begins at zero
        unless values are negative.
        """
        if bounds is not None:
            return cls(*bounds, log=False)
        everything = np.concatenate([values, [limit.value for limit in limits]]).astype(np.float64)
        positive = everything[everything > 0]
        if log and len(positive):
            low, high = float(positive.min()), float(positive.max())
            low, high = _round_below(max(low, high * 10**-_DECADES)), _round_above(high)
            return cls(low, high if high > low else 10 * low, True)
        low, high = min(0.0, float(everything.min())), float(everything.max())
        return cls(-_round_above(-low) if low < 0 else 0.0, _round_above(high) if high > 0 else 1.0, False)

    def shares(self, values: Array | float) -> Any:
        """Return the positions of values on the scale, 0 to 1."""
        if self.log:
            decades = np.log10(self.high / self.low)
            return np.clip(np.log10(np.maximum(values, self.low) / self.low) / decades, 0, 1)
        return np.clip((np.asarray(values, np.float64) - self.low) / (self.high - self.low), 0, 1)

    @property
    def ticks(self) -> list[Tick]:
        """Return the labels: both ends, and the middle or, if logarithmic, the powers of ten between."""
        if not self.log:
            return [Tick(share, number_text(self.low + share * (self.high - self.low))) for share in (0.0, 0.5, 1.0)]
        first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
        between = [Tick(float(self.shares(10.0**power)), number_text(10.0**power)) for power in range(first, last + 1)]
        inner = [tick for tick in between if 0.18 < tick.share < 0.82]
        return [Tick(0.0, number_text(self.low)), *inner, Tick(1.0, number_text(self.high))]


class FrameAxis(NamedTuple):
    """The positions of a stream's frames on an axis from `low` to `high`: their numbers, or their times in ns.

    `starts` and `ends`, shape (N,), are the range that each frame takes: up to the next frame or, where a gap follows,
    as far as is usual.
    """

    starts: Array
    ends: Array
    is_time: bool

    @classmethod
    def of(cls, index: Array, gaps: Sequence[tuple[int, int]], times: Array | None = None) -> FrameAxis:
        """Return the axis of frames by number, `index` of shape (N,), rising, N > 0, or by `times`, (N,) ns, rising.

        `gaps` are the first and last numbers of missing frames.
        """
        places = (index if times is None else times).astype(np.float64)
        steps = np.diff(places)
        usual = float(np.median(steps)) if len(steps) else 1.0
        follows = np.zeros(len(places), np.bool_)
        at = np.searchsorted(index, np.array([first for first, _ in gaps], np.int64)) - 1
        follows[at[(at >= 0) & (at < len(places) - 1)]] = True
        ends = np.append(places[1:], places[-1] + usual)
        return cls(places, np.where(follows, np.minimum(ends, places + usual), ends), times is not None)

    @property
    def low(self) -> float:
        """Return the beginning of the axis."""
        return float(self.starts[0])

    @property
    def high(self) -> float:
        """Return the end of the axis, which is the end of the last frame."""
        return max(float(self.ends[-1]), self.low + 1)

    def shares(self, places: Array | float) -> Any:
        """Return positions on the axis, 0 to 1."""
        return np.clip((np.asarray(places, np.float64) - self.low) / (self.high - self.low), 0, 1)

    def range_of(self, index: Array, first: int, last: int) -> tuple[float, float]:
        """Return the positions, 0 to 1, at which frames `first` to `last` begin and end; missing ones too.

        `index` has the numbers of the frames of the axis.
        """
        begin, after = np.searchsorted(index, [first, last + 1])
        start = self.starts[begin] if begin < len(index) and index[begin] == first else self.ends[max(0, begin - 1)]
        end = self.ends[after - 1] if after and index[after - 1] == last else self.starts[min(after, len(index) - 1)]
        return float(self.shares(start)), float(self.shares(end))

    @property
    def ticks(self) -> list[Tick]:
        """Return labels at round numbers, or round times."""
        return _time_ticks(self) if self.is_time else _number_ticks(self)


def _number_ticks(axis: FrameAxis) -> list[Tick]:
    step = max(1.0, _round_above((axis.high - axis.low) / _TICKS))
    at = np.arange(math.ceil(axis.low / step), math.floor(axis.high / step) + 1) * step
    return [Tick(float(axis.shares(place)), f"{int(place)}") for place in at.tolist()]


def _time_ticks(axis: FrameAxis) -> list[Tick]:
    seconds = (axis.high - axis.low) / _SECOND
    step_s = next((s for s in _STEPS_S if s * _TICKS >= seconds), None)
    step = _SECOND * (step_s or math.ceil(seconds / _TICKS / 86400) * 86400)
    at = np.arange(math.ceil(axis.low / step), math.floor(axis.high / step) + 1) * step
    return [Tick(float(axis.shares(place)), time_text(int(place), step)) for place in at.tolist()]


def time_text(time_ns: int, step_ns: float | None = None) -> str:
    """Return a time as text: date and time, UTC, or hours, minutes and seconds of a clip.

    Labels every `step_ns` are as short as they may be.
    """
    if time_ns < _FIRST_DATE_NS:
        minutes, rest = divmod(time_ns // _SECOND, 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{rest:02}"
    found = datetime.fromtimestamp(time_ns / _SECOND, UTC)
    if step_ns is None:
        return f"{found:%Y-%m-%d %H:%M:%S}"
    if step_ns >= 86_400 * _SECOND:
        return f"{found:%Y-%m-%d}"
    return f"{found:%m-%d %H:%M}" if step_ns >= 60 * _SECOND else f"{found:%H:%M:%S}"


def number_text(number: float) -> str:
    """Return a number with three digits, and thousands as `k`."""
    return f"{number:.3g}" if abs(number) < 1000 else f"{number / 1000:.3g}k" if abs(number) < 1e6 else f"{number:.1e}"


def _round_above(number: float) -> float:
    """Return the smallest of 1, 2, 5 and their multiples by powers of ten that is not below a positive number."""
    unit = 10.0 ** math.floor(math.log10(number) + 1e-9)
    return next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= number * (1 - 1e-9))


def _round_below(number: float) -> float:
    unit = 10.0 ** math.floor(math.log10(number) + 1e-9)
    return next(unit * factor for factor in (5, 2, 1) if unit * factor <= number * (1 + 1e-9))
