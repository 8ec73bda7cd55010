"""Small charts: histograms and curves as SVG, and a table of counts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup, escape

from jobs.analysis.chart_axes import Array, Limit, Scale, number_text
from jobs.core.naming import many

_WIDTH, _HEIGHT = 300, 130
_LEFT, _RIGHT, _BASE = 34, 10, 18
_BINS = 40
_ROW = 12
"""Height of the name of a limit; names are above the bars."""
_ROWS = 2
"""Rows of names for which there is room in any case, so that charts next to each other are of one height."""


def histogram(
    values: Array, title: str, limits: Sequence[Limit], log: bool = False, bounds: tuple[float, float] | None = None
) -> Markup:
    """Draw the distribution of values; `limits` are dashed lines, with their names above the bars.

    `log` and `bounds` are those of `Scale.of`.
    """
    values = values[np.isfinite(values)]
    if not len(values):
        return _frame(title, "<text class='none' x='20' y='60'>nothing measured</text>", _WIDTH, _HEIGHT)
    scale = Scale.of(values, limits, log, bounds)
    top = 20 + _ROW * max(_ROWS, len(limits))
    height = top + _HEIGHT - 20
    across, low = _WIDTH - _LEFT - _RIGHT, height - _BASE
    counts, _ = np.histogram(scale.shares(values), bins=_BINS, range=(0, 1))
    step = across / _BINS
    tall = counts / counts.max() * (low - top)
    parts = [
        f"<rect class='bar' x='{_LEFT + at * step:.1f}' width='{step - 0.6:.1f}' y='{low - tall[at]:.1f}' "
        f"height='{tall[at]:.1f}'><title>{many(int(counts[at]), 'frame')}</title></rect>"
        for at in np.flatnonzero(counts)
    ]
    names = []
    for number, limit in enumerate(limits):
        share = float(scale.shares(limit.value))
        x, y = _LEFT + share * across, 27 + _ROW * number
        parts.append(f"<line class='limit' x1='{x:.1f}' x2='{x:.1f}' y1='{y - 8}' y2='{low}'/>")
        side, offset = (" end", -3) if share > 1 / 2 else ("", 3)
        names.append(f"<text class='axis{side} of-limit' x='{x + offset:.1f}' y='{y}'>{escape(limit.label)}</text>")
    # Over the lines of other limits.
    parts += names
    parts.append(f"<line class='base' x1='{_LEFT}' x2='{_WIDTH - _RIGHT}' y1='{low}' y2='{low}'/>")
    for tick in scale.ticks:
        side = " end" if tick.share > 0.9 else " middle" if tick.share > 0.1 else ""
        place = f"x='{_LEFT + tick.share * across:.1f}' y='{height - 5}'"
        parts.append(f"<text class='axis{side}' {place}>{tick.text}</text>")
    parts.append(f"<text class='axis end' x='{_LEFT - 4}' y='{top + 8}'>{number_text(int(counts.max()))}</text>")
    parts.append(f"<text class='axis end' x='{_LEFT - 4}' y='{low}'>0</text>")
    return _frame(title, "".join(parts), _WIDTH, height)


def curves(lines: Sequence[tuple[Array, Array]], title: str, x_title: str, x_range: tuple[float, float]) -> Markup:
    """Draw lines, each (x, y) of shape (N,), y from 0 to 1; the second one in another colour."""
    width, height = _WIDTH, 2 * _HEIGHT
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


def matrix(counts: Array, names: Sequence[str], title: str, row: str, column: str) -> Markup:
    """Return a table of counts, shape (K, K), with a number in each cell, shaded by its share of its row.

    `row` and `column` say what the names of the rows and of the columns are.
    """
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    heads = "".join(f"<th scope='col'><span>{escape(name)}</span></th>" for name in names)
    rows = []
    for at, name in enumerate(names):
        cells = "".join(
            f"<td{_shade(share[at, to]) if counts[at, to] else ''} title='{escape(name)} as {escape(other)}'>"
            f"{int(counts[at, to]):,}</td>"
            for to, other in enumerate(names)
        )
        rows.append(
            f"<tr><th scope='row'>{escape(name)}</th>{cells}<td class='sum'>{int(counts[at].sum()):,}</td></tr>"
        )
    sums = "".join(f"<td>{int(n):,}</td>" for n in counts.sum(axis=0))
    corner = f"<th><span>{escape(row)} ↓ {escape(column)} →</span></th>"
    return Markup(
        f"<div class='wide'><table class='matrix'><caption>{escape(title)}</caption>"
        f"<tr>{corner}{heads}<th scope='col'><span>all</span></th></tr>{''.join(rows)}"
        f"<tr class='sum'><th scope='row'>all</th>{sums}<td></td></tr></table></div>"
    )


def _shade(share: float) -> str:
    # Dark text stays readable on the lighter half, light text on the darker one.
    strong = " class='strong'" if share > 0.55 else ""
    return f"{strong} style='--share:{100 * (0.1 + 0.9 * share):.0f}%'"


def _frame(title: str, inner: str, width: int, height: int) -> Markup:
    text = escape(title)
    return Markup(
        f"<svg viewBox='0 0 {width} {height}' role='img' aria-label='{text}'>"
        f"<text class='title' x='8' y='11'>{text}</text>{inner}</svg>"
    )
