"""Small SVG charts: timelines, histograms, curves, matrices, and a strip of keep decisions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape

Array = npt.NDArray[Any]

_WIDTH, _HEIGHT = 960, 88
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 8, 16, 16
_HISTOGRAM_WIDTH, _HISTOGRAM_HEIGHT = 300, 130
_BINS = 40
_POINTS = 480
_DECADES = 4
_BETWEEN = 190


class Limit(NamedTuple):
    """A threshold: its value, and the name of what it limits."""

    value: float
    name: str = ""

    @property
    def label(self) -> str:
        """Return the name, if any, and the value."""
        return f"{self.name} {_number(self.value)}".strip()


class _Scale(NamedTuple):
    """A linear or logarithmic axis; on a logarithmic one, values below the lower end are drawn at that end."""

    low: float
    high: float
    log: bool

    @classmethod
    def of(cls, values: Array, limits: Sequence[Limit], log: bool) -> _Scale:
        """Return a scale for all values, shape (N,), and limits; at most four powers of ten if logarithmic."""
        everything = np.concatenate([values, [limit.value for limit in limits]]).astype(np.float64)
        positive = everything[everything > 0]
        if log and len(positive):
            low, high = float(positive.min()), float(positive.max())
            return cls(max(low, high * 10**-_DECADES), high, True).widened()
        return cls(float(everything.min()), float(everything.max()), False).widened()

    def widened(self) -> _Scale:
        """Return the scale itself, or a wider one if it has a single value."""
        if self.high > self.low:
            return self
        return _Scale(self.low / 2, self.high * 2, True) if self.log else _Scale(self.low - 0.5, self.high + 0.5, False)

    def shares(self, values: Array | float) -> Any:
        """Return the positions of values on the scale, 0 to 1."""
        if self.log:
            decades = np.log10(self.high / self.low)
            return np.clip(np.log10(np.maximum(values, self.low) / self.low) / decades, 0, 1)
        return np.clip((np.asarray(values, np.float64) - self.low) / (self.high - self.low), 0, 1)


def timeline(
    index: Array,
    values: Array,
    title: str,
    bands: Sequence[tuple[int, int]],
    gaps: Sequence[tuple[int, int]],
    limits: Sequence[Limit],
    log: bool = False,
) -> Markup:
    """Draw values over frame numbers.

    `index` and `values` have shape (N,), NaN where unknown. `bands` are shaded, `gaps` hatched, `limits` dashed and
    labelled. If there are more frames than columns, each column shows the range of its values, so that no spike is
    lost.
    """
    known = np.isfinite(values)
    if not known.any():
        return _frame(title, "<text class='none' x='60' y='52'>nothing measured</text>", _WIDTH, _HEIGHT)
    scale = _Scale.of(values[known], limits, log)
    span = (int(index[0]), max(int(index[-1]), int(index[0]) + 1))

    def x(number: Array | float) -> Any:
        return _LEFT + (np.asarray(number) - span[0]) / (span[1] - span[0]) * (_WIDTH - _LEFT - _RIGHT)

    def y(value: Array | float) -> Any:
        return _HEIGHT - _BOTTOM - scale.shares(value) * (_HEIGHT - _TOP - _BOTTOM)

    parts = [_band(x, first, last, "idle") for first, last in bands]
    parts += [_band(x, first, last, "gap") for first, last in gaps]
    for number, limit in enumerate(limits):
        at, right = float(y(limit.value)), _WIDTH - _RIGHT
        parts.append(f"<line class='limit' x1='{_LEFT}' x2='{right}' y1='{at:.1f}' y2='{at:.1f}'/>")
        # Each a little further left, so that labels of adjacent lines do not overlap.
        place = f"x='{right - 4 - number * _BETWEEN}' y='{at - 3 if at > _TOP + 10 else at + 10:.1f}'"
        parts.append(f"<text class='axis end of-limit' {place}>{limit.label}</text>")
    parts.append(f"<path class='line' d='{_path(x(index), y(values), known)}'/>")
    parts += _labels(scale)
    parts.append(f"<text class='axis' x='{_LEFT}' y='{_HEIGHT - 3}'>{span[0]}</text>")
    parts.append(f"<text class='axis end' x='{_WIDTH - _RIGHT}' y='{_HEIGHT - 3}'>{span[1]}</text>")
    return _frame(title, "".join(parts), _WIDTH, _HEIGHT)


def verdict_strip(index: Array, keep: Array) -> Markup:
    """Draw the share of kept frames in each column of the timeline."""
    span = (int(index[0]), max(int(index[-1]), int(index[0]) + 1)) if len(index) else (0, 1)
    columns = min(_POINTS, span[1] - span[0] + 1)
    # In floating point, since products of frame numbers may exceed 64-bit integers.
    share = (index.astype(np.float64) - span[0]) / (span[1] - span[0] + 1)
    place = np.minimum((share * columns).astype(np.int64), columns - 1)
    n = np.bincount(place, minlength=columns)
    kept = np.bincount(place, weights=keep, minlength=columns)
    width = (_WIDTH - _LEFT - _RIGHT) / columns
    parts = []
    for at in np.flatnonzero(n):
        share = kept[at] / n[at]
        left = _LEFT + at * width
        parts.append(f"<rect class='drop' x='{left:.1f}' y='4' width='{width + 0.3:.1f}' height='14'/>")
        if share:
            parts.append(
                f"<rect class='keep' x='{left:.1f}' y='{18 - 14 * share:.1f}' width='{width + 0.3:.1f}' "
                f"height='{14 * share:.1f}'/>"
            )
    label = "<text class='axis end' x='46' y='15'>kept</text>"
    return Markup(f"<svg viewBox='0 0 {_WIDTH} 22' role='img' aria-label='kept frames'>{label}{''.join(parts)}</svg>")


def histogram(values: Array, title: str, limits: Sequence[Limit], log: bool = False) -> Markup:
    """Draw the distribution of values; `limits` are dashed lines with labels."""
    values = values[np.isfinite(values)]
    width, height = _HISTOGRAM_WIDTH, _HISTOGRAM_HEIGHT
    if not len(values):
        return _frame(title, "<text class='none' x='20' y='60'>nothing measured</text>", width, height)
    scale = _Scale.of(values, limits, log)
    counts, _ = np.histogram(scale.shares(values), bins=_BINS, range=(0, 1))
    step = (width - 16) / _BINS
    tall = counts / counts.max() * (height - 34)
    parts = [
        f"<rect class='bar' x='{8 + at * step:.1f}' width='{step - 0.6:.1f}' y='{height - 16 - tall[at]:.1f}' "
        f"height='{tall[at]:.1f}'><title>{int(counts[at])}</title></rect>"
        for at in np.flatnonzero(counts)
    ]
    for number, limit in enumerate(limits):
        share = float(scale.shares(limit.value))
        x = 8 + share * (width - 16)
        parts.append(f"<line class='limit' x1='{x:.1f}' x2='{x:.1f}' y1='18' y2='{height - 16}'/>")
        side, offset = (" end", -3) if share > 1 / 2 else ("", 3)
        place = f"x='{x + offset:.1f}' y='{26 + 11 * number}'"
        parts.append(f"<text class='axis{side} of-limit' {place}>{limit.label}</text>")
    parts.append(f"<text class='axis' x='8' y='{height - 3}'>{_number(scale.low)}</text>")
    parts.append(f"<text class='axis end' x='{width - 8}' y='{height - 3}'>{_number(scale.high)}</text>")
    return _frame(title, "".join(parts), width, height)


def curves(lines: Sequence[tuple[Array, Array]], title: str, x_title: str, x_range: tuple[float, float]) -> Markup:
    """Draw lines, each (x, y) of shape (N,), y from 0 to 1; the second one in another colour."""
    width, height = _HISTOGRAM_WIDTH, 2 * _HISTOGRAM_HEIGHT
    low, high = x_range
    parts = [f"<rect class='box' x='28' y='20' width='{width - 40}' height='{height - 52}'/>"]
    for number, (x, y) in enumerate(lines):
        there = np.isfinite(x) & np.isfinite(y)
        across = 28 + (x[there] - low) / (high - low) * (width - 40)
        up = 20 + (1 - y[there]) * (height - 52)
        path = "".join(f"{'L' if at else 'M'}{a:.1f} {b:.1f}" for at, (a, b) in enumerate(zip(across, up, strict=True)))
        parts.append(f"<path class='line{' second' if number else ''}' d='{path}'/>")
    for text, x_place, y_place, kind in (
        ("1", 24, 26, " end"),
        ("0", 24, height - 32, " end"),
        (f"{low:g}", 28, height - 20, ""),
        (f"{high:g}", width - 12, height - 20, " end"),
        (x_title, width - 12, height - 6, " end"),
    ):
        parts.append(f"<text class='axis{kind}' x='{x_place}' y='{y_place}'>{text}</text>")
    return _frame(title, "".join(parts), width, height)


def matrix(counts: Array, names: Sequence[str], title: str) -> Markup:
    """Draw a table of counts, shape (K, K), as squares, shaded by each count's share of its row."""
    cell = max(12, min(36, 720 // max(1, len(names))))
    left, top = 130, 110
    size = (left + cell * len(names) + 8, top + cell * len(names) + 8)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    parts = []
    for row, name in enumerate(names):
        text = escape(name)
        middle = (row + 0.5) * cell
        parts.append(f"<text class='axis end' x='{left - 6}' y='{top + middle + 4:.0f}'>{text}</text>")
        turn = f"transform='rotate(-60 {left + middle:.0f} {top - 6})'"
        parts.append(f"<text class='axis' x='{left + middle:.0f}' y='{top - 6}' {turn}>{text}</text>")
        for column in np.flatnonzero(counts[row]).tolist():
            place = f"x='{left + column * cell}' y='{top + row * cell}' width='{cell - 1}' height='{cell - 1}'"
            said = f"{text} as {escape(names[column])}: {int(counts[row, column])}"
            shade = 0.12 + 0.88 * share[row, column]
            parts.append(f"<rect class='bar' {place} opacity='{shade:.2f}'><title>{said}</title></rect>")
    return _frame(title, "".join(parts), *size)


def _frame(title: str, inner: str, width: int, height: int) -> Markup:
    return Markup(
        f"<svg viewBox='0 0 {width} {height}' role='img' aria-label='{title}'>"
        f"<text class='title' x='{_LEFT if width == _WIDTH else 8}' y='11'>{title}</text>{inner}</svg>"
    )


def _band(x: Any, first: int, last: int, kind: str) -> str:
    left, right = float(x(first - 0.5)), float(x(last + 0.5))
    shape = f"x='{left:.1f}' y='{_TOP}' width='{max(1.0, right - left):.1f}' height='{_HEIGHT - _TOP - _BOTTOM}'"
    return f"<rect class='{kind}' {shape}><title>{kind}: {first} to {last}</title></rect>"


def _path(x: Array, y: Array, known: Array) -> str:
    """Return a path through the known points, broken at unknown values; ranges per column if points are too many."""
    if len(x) <= 2 * _POINTS:
        steps = np.where(known & ~np.concatenate([[False], known[:-1]]), "M", "L")
        return "".join(f"{s}{a:.1f} {b:.1f}" for s, a, b, k in zip(steps, x, y, known, strict=True) if k)
    column = np.minimum(((x - x[0]) / (x[-1] - x[0]) * _POINTS).astype(np.int64), _POINTS - 1)
    lows, highs = np.full(_POINTS, np.inf), np.full(_POINTS, -np.inf)
    np.minimum.at(lows, column[known], y[known])
    np.maximum.at(highs, column[known], y[known])
    centre = x[0] + (np.arange(_POINTS) + 0.5) * (x[-1] - x[0]) / _POINTS
    there = np.isfinite(lows)
    return "".join(
        f"M{c:.1f} {a:.1f}L{c:.1f} {b + 0.6:.1f}"
        for c, a, b in zip(centre[there], lows[there], highs[there], strict=True)
    )


def _labels(scale: _Scale) -> list[str]:
    places = ((scale.low, _HEIGHT - _BOTTOM), (scale.high, _TOP + 8))
    return [f"<text class='axis end' x='46' y='{y}'>{_number(value)}</text>" for value, y in places]


def _number(number: float) -> str:
    return f"{number:.3g}" if abs(number) < 1000 else f"{number / 1000:.3g}k" if abs(number) < 1e6 else f"{number:.1e}"
