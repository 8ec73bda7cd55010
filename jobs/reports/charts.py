"""Small charts as SVG text: timelines, histograms, and a strip of verdicts. Numbers in, markup out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape

Array = npt.NDArray[Any]

_WIDTH, _HEIGHT = 960, 88
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 8, 16, 16
_HISTOGRAM_WIDTH, _HISTOGRAM_HEIGHT = 300, 130
_BINS = 40
_POINTS = 480


def timeline(
    index: Array,
    values: Array,
    title: str,
    bands: Sequence[tuple[int, int]],
    gaps: Sequence[tuple[int, int]],
    limits: Sequence[float],
    log: bool = False,
) -> Markup:
    """Draw values over frame numbers.

    `index` and `values` have shape (N,), NaN where unknown. `bands` are shaded, `gaps` hatched, `limits` dashed. More
    frames than fit are drawn as the range of each column, so that no spike is lost.
    """
    known = np.isfinite(values)
    if not known.any():
        return _frame(title, "<text class='none' x='60' y='52'>nothing measured</text>", _WIDTH, _HEIGHT)
    low, high = _range(values[known], limits, log)
    span = (int(index[0]), max(int(index[-1]), int(index[0]) + 1))

    def x(number: Array | float) -> Any:
        return _LEFT + (np.asarray(number) - span[0]) / (span[1] - span[0]) * (_WIDTH - _LEFT - _RIGHT)

    def y(value: Array | float) -> Any:
        place = (_scaled(value, log) - low) / (high - low)
        return _HEIGHT - _BOTTOM - np.clip(place, 0, 1) * (_HEIGHT - _TOP - _BOTTOM)

    parts = [_band(x, first, last, "idle") for first, last in bands]
    parts += [_band(x, first, last, "gap") for first, last in gaps]
    parts += [
        f"<line class='limit' x1='{_LEFT}' x2='{_WIDTH - _RIGHT}' y1='{y(v):.1f}' y2='{y(v):.1f}'/>" for v in limits
    ]
    parts.append(f"<path class='line' d='{_path(x(index), y(values), known)}'/>")
    parts += _labels(low, high, log)
    parts.append(f"<text class='axis' x='{_LEFT}' y='{_HEIGHT - 3}'>{span[0]}</text>")
    parts.append(f"<text class='axis end' x='{_WIDTH - _RIGHT}' y='{_HEIGHT - 3}'>{span[1]}</text>")
    return _frame(title, "".join(parts), _WIDTH, _HEIGHT)


def verdict_strip(index: Array, keep: Array) -> Markup:
    """Draw which frames are kept, as the share of each column of the timeline that is."""
    span = (int(index[0]), max(int(index[-1]), int(index[0]) + 1)) if len(index) else (0, 1)
    columns = min(_POINTS, span[1] - span[0] + 1)
    place = ((index - span[0]) * columns // (span[1] - span[0] + 1)).astype(np.int64)
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


def histogram(values: Array, title: str, limits: Sequence[float], log: bool = False) -> Markup:
    """Draw how often values occur; `limits` are dashed lines."""
    values = values[np.isfinite(values)]
    width, height = _HISTOGRAM_WIDTH, _HISTOGRAM_HEIGHT
    if not len(values):
        return _frame(title, "<text class='none' x='20' y='60'>nothing measured</text>", width, height)
    low, high = _range(values, limits, log)
    counts, _ = np.histogram(_scaled(values, log), bins=_BINS, range=(low, high))
    step = (width - 16) / _BINS
    tall = counts / counts.max() * (height - 34)
    parts = [
        f"<rect class='bar' x='{8 + at * step:.1f}' width='{step - 0.6:.1f}' y='{height - 16 - tall[at]:.1f}' "
        f"height='{tall[at]:.1f}'><title>{int(counts[at])}</title></rect>"
        for at in np.flatnonzero(counts)
    ]
    for value in limits:
        x = 8 + (float(_scaled(value, log)) - low) / (high - low) * (width - 16)
        parts.append(f"<line class='limit' x1='{x:.1f}' x2='{x:.1f}' y1='18' y2='{height - 16}'/>")
    parts.append(f"<text class='axis' x='8' y='{height - 3}'>{_number(low, log)}</text>")
    parts.append(f"<text class='axis end' x='{width - 8}' y='{height - 3}'>{_number(high, log)}</text>")
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
    """Draw a table of counts, shape (K, K), as squares, each row's share of its sum as how dark they are."""
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
    """Return a path through the known points, broken where values are unknown; ranges where points are too many."""
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


def _scaled(value: Array | float, log: bool) -> Any:
    return np.log10(np.maximum(value, 0.1)) if log else np.asarray(value, np.float64)


def _range(values: Array, limits: Sequence[float], log: bool) -> tuple[float, float]:
    everything = _scaled(np.concatenate([values, np.asarray(limits, np.float64)]), log)
    low, high = float(everything.min()), float(everything.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _labels(low: float, high: float, log: bool) -> list[str]:
    places = ((low, _HEIGHT - _BOTTOM), (high, _TOP + 8))
    return [f"<text class='axis end' x='46' y='{y}'>{_number(value, log)}</text>" for value, y in places]


def _number(value: float, log: bool) -> str:
    number = float(10**value if log else value)
    return f"{number:.3g}" if abs(number) < 1000 else f"{number / 1000:.3g}k" if abs(number) < 1e6 else f"{number:.1e}"
