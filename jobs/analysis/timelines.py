"""Timelines of a stream: measures, keep decisions and scenes over the numbers or the times of its frames.

Shapes are stretched to the width of the page, text is not, so that it can be read at every width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup, escape

from jobs.analysis.chart_axes import Array, FrameAxis, Limit, Scale, Tick, number_text

_WIDTH, _HEIGHT = 1000, 100
_POINTS = 480
_STRIP = 10

Band = tuple[int, int]
"""The first and the last number of an interval of frames."""


def timeline(
    axis: FrameAxis,
    index: Array,
    values: Array,
    title: str,
    bands: Sequence[Band] = (),
    gaps: Sequence[Band] = (),
    limits: Sequence[Limit] = (),
    log: bool = False,
    bounds: tuple[float, float] | None = None,
) -> Markup:
    """Draw values over frames.

    `index` and `values` have shape (N,), values NaN where unknown. `bands` are shaded, `gaps` hatched, `limits` dashed,
    with their names above and their values on the right. If there are more frames than columns, each column shows the
    range of its values, so that no spike is lost. `log` and `bounds` are those of `Scale.of`.
    """
    known = np.isfinite(values)
    if not known.any():
        return _chart(title, "", "<span class='none'>nothing measured</span>", [], [])
    scale = Scale.of(values[known], limits, log, bounds)
    parts = [_band(axis, index, band, kind) for kind, found in (("idle", bands), ("gap", gaps)) for band in found]
    values_at = []
    for limit in limits:
        up = float(scale.shares(limit.value))
        y = _HEIGHT * (1 - up)
        parts.append(f"<line class='limit' x1='0' x2='{_WIDTH}' y1='{y:.1f}' y2='{y:.1f}'/>")
        values_at.append(f"<span class='at' style='bottom:{100 * up:.1f}%'>{number_text(limit.value)}</span>")
    middle = axis.shares(axis.starts) * _WIDTH
    # A gap in the numbers is a gap in the line.
    breaks = np.concatenate([[True], axis.starts[1:] > axis.ends[:-1]]) if len(index) else np.zeros(0, np.bool_)
    parts.append(f"<path class='line' d='{_path(middle, _HEIGHT * (1 - scale.shares(values)), known, breaks)}'/>")
    names = "".join(f"<span class='of-limit'>{escape(limit.label)}</span>" for limit in limits)
    return _chart(title, names, _shapes(parts, _HEIGHT) + "".join(values_at), scale.ticks, axis.ticks)


def verdict_strip(axis: FrameAxis, keep: Array) -> Markup:
    """Draw the share of kept frames, `keep` of shape (N,), in each column of the timeline; nothing in gaps."""
    columns = min(_POINTS, len(keep))
    if not columns:
        return Markup("")
    centres = axis.low + (np.arange(columns) + 0.5) * (axis.high - axis.low) / columns
    # A column shows the frames that begin in it, or else the one that is still there at its middle.
    own = np.minimum(((axis.starts - axis.low) / (axis.high - axis.low) * columns + 1e-9).astype(np.int64), columns - 1)
    n = np.bincount(own, minlength=columns)
    kept = np.bincount(own, weights=keep, minlength=columns)
    before = np.clip(np.searchsorted(axis.starts, centres, "right") - 1, 0, None)
    share = np.where(n > 0, kept / np.maximum(n, 1), keep[before])
    share[(n == 0) & (centres >= axis.ends[before])] = -1
    edges = np.concatenate([[0], np.flatnonzero(np.diff(share)) + 1, [columns]])
    parts = []
    for first, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        value = float(share[first])
        if value < 0:
            continue
        place = f"x='{first}' width='{end - first}'"
        parts.append(f"<rect class='drop' {place} y='0' height='{_STRIP}'/>")
        if value:
            tall = f"y='{_STRIP * (1 - value):.1f}' height='{_STRIP * value:.1f}'"
            parts.append(f"<rect class='keep' {place} {tall}/>")
    return _strip("kept", parts, columns)


def scene_strip(axis: FrameAxis, index: Array, scenes: Sequence[tuple[int, int, int, str]]) -> Markup:
    """Draw scenes, each its number, first and last frame and how it begins, in alternating shades."""
    parts = []
    for number, first, last, begins in scenes:
        left, right = (_WIDTH * share for share in axis.range_of(index, first, last))
        place = f"x='{left:.2f}' width='{max(0.5, right - left):.2f}' y='0' height='{_STRIP}'"
        said = f"scene {number}: {first} to {last}, begins with a {escape(begins)}"
        parts.append(f"<rect class='scene{' other' if number % 2 else ''}' {place}><title>{said}</title></rect>")
    return _strip("scenes", parts, _WIDTH) if parts else Markup("")


def _chart(title: str, names: str, inner: str, y_ticks: Sequence[Tick], x_ticks: Sequence[Tick]) -> Markup:
    up = "".join(f"<span class='y' style='bottom:{100 * tick.share:.1f}%'>{tick.text}</span>" for tick in y_ticks)
    along = "".join(f"<span style='left:{100 * tick.share:.2f}%'>{tick.text}</span>" for tick in x_ticks)
    return Markup(
        f"<div class='chart' role='img' aria-label='{escape(title)}'>"
        f"<div class='head'><b>{escape(title)}</b>{names}</div>"
        f"<div class='plot'>{inner}{up}</div><div class='x'>{along}</div></div>"
    )


def _strip(name: str, parts: Sequence[str], width: int) -> Markup:
    return Markup(
        f"<div class='chart strip' role='img' aria-label='{name}'><div class='plot'>{_shapes(parts, _STRIP, width)}"
        f"<span class='y'>{name}</span></div></div>"
    )


def _shapes(parts: Sequence[str], height: int, width: int = _WIDTH) -> str:
    return f"<svg viewBox='0 0 {width} {height}' preserveAspectRatio='none'>{''.join(parts)}</svg>"


def _band(axis: FrameAxis, index: Array, band: Band, kind: str) -> str:
    left, right = (_WIDTH * share for share in axis.range_of(index, *band))
    shape = f"x='{left:.2f}' y='0' width='{max(1.0, right - left):.2f}' height='{_HEIGHT}'"
    return f"<rect class='{kind}' {shape}><title>{kind}: {band[0]} to {band[1]}</title></rect>"


def _path(x: Array, y: Array, known: Array, breaks: Array) -> str:
    """Return a path through the known points, broken at unknown values and gaps; ranges per column if they are many."""
    if len(x) <= 2 * _POINTS:
        starts = known & (~np.concatenate([[False], known[:-1]]) | breaks)
        steps = np.where(starts, "M", "L")
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
