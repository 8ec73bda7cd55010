"""One line per stream on its verdicts, with the threshold that dropped nearly all of its frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from conf import PipelineConfig
from jobs.core.naming import many
from jobs.views.overridden_verdicts import ALL_REASONS
from jobs.views.view import View
from schemas import FRAME_KEY
from transforms.curate.curation import MEASURES, REASONS, Reason

_MAX_STREAMS = 20
_NEARLY_ALL = 0.9
_MOST = 0.5
_SOFT = "soft_throughout"
_QUANTILES = (0.05, 0.5, 0.95)


def stream_verdicts(view: View, streams: Sequence[str], config: PipelineConfig) -> list[str]:
    """Return a line for each stream: frames kept, and dropped by reason.

    Where one reason drops more than 90 % of a stream, a second line has the measure's median, the threshold that
    decides, and a setting that would keep most of the frames; where frames are soft and nothing tells blur in them, it
    has the setting that would drop them. Of more than twenty streams, those come first that lose most; a last line
    counts the others. A single stream of which there is nothing to say has no line: the sums of the run say it.
    """
    rows = view.lazy("curation").filter(pl.col("stream_id").is_in(list(streams)))
    reasons = [pl.col("reasons").list.contains(reason).sum().alias(reason) for reason in ALL_REASONS]
    soft = pl.col("flags").list.contains(_SOFT).sum().alias(_SOFT)
    counts = rows.group_by("stream_id").agg(pl.len().alias("n"), pl.col("keep").sum().alias("kept"), *reasons, soft)
    found = counts.with_columns(share=pl.col("kept") / pl.col("n")).sort("share", "stream_id").collect()
    lines: list[str] = []
    for row in found.head(_MAX_STREAMS).iter_rows(named=True):
        dropped = ", ".join(f"{row[reason]:,} {reason}" for reason in ALL_REASONS if row[reason]) or "none"
        stream = row["stream_id"]
        why = [
            line
            for reason in REASONS
            if row[reason] > _NEARLY_ALL * row["n"]
            for line in _explained(view, stream, reason, config)
        ]
        if row[_SOFT]:
            why.append(_spared(view, stream, row[_SOFT], row["n"], config))
        if why or found.height > 1:
            lines += [f"stream {stream}: kept {row['kept']:,} of {row['n']:,}; dropped: {dropped}", *why]
    if found.height > _MAX_STREAMS:
        rest = found.slice(_MAX_STREAMS)
        lines.append(f"{rest.height:,} more streams: kept {rest['kept'].sum():,} of {rest['n'].sum():,}")
    return lines


def _spared(view: View, stream: str, n_soft: int, n: int, config: PipelineConfig) -> str:
    """Return the line on a stream whose frames are alike and below the limit of blur."""
    rows = view.lazy("curation").filter(pl.col("stream_id") == stream, pl.col("flags").list.contains(_SOFT))
    sharpness = rows.select(FRAME_KEY).join(view.lazy("quality").select(*FRAME_KEY, "sharpness"), on=FRAME_KEY)
    median = sharpness.select(pl.col("sharpness").median()).collect().item()
    floor = config.curation.blur_limits(config.blur.method).floor
    measured = f"sharpness is {median:.3g} at the median, below {floor:g}"
    soft = f"soft throughout: {measured}" if n_soft > _MOST * n else f"{many(n_soft, 'frame', 'are')} soft: {measured}"
    return (
        f"  {soft}; not called blurry, since frames that are all alike do not tell a soft subject from a camera out of "
        "focus; --set curation.soft_streams=drop drops them"
    )


def _explained(view: View, stream: str, reason: Reason, config: PipelineConfig) -> Iterator[str]:
    """Yield what a reason measured on a stream, and which settings would decide otherwise."""
    ignoring = f"--set curation.ignore=[{reason}] applies it to no frame"
    measures = MEASURES.get(reason, {})
    if not measures:
        yield f"  {reason} throughout; {ignoring}"
        return
    dropped = view.lazy("curation").filter(pl.col("stream_id") == stream, pl.col("reasons").list.contains(reason))
    values = dropped.select(FRAME_KEY).join(view.lazy("quality").select(*FRAME_KEY, *measures), on=FRAME_KEY)
    found = values.select(
        pl.col(column).quantile(q).alias(f"{column} {q}") for column in measures for q in _QUANTILES
    ).collect()
    low, middle, high = _QUANTILES
    parts, settings = [], []
    for column, parameter in measures.items():
        limit = getattr(config.curation, parameter)
        if limit is None:
            limit = config.curation.blur_limits(config.blur.method).floor
        median = found[f"{column} {middle}"].item()
        is_above = reason == "overexposed"
        if median is None or (median <= limit if is_above else median >= limit):
            continue
        parts.append(f"{column} is {median:.3g} at the median, {'above' if is_above else 'below'} {limit:g}")
        value = _rounded(found[f"{column} {high if is_above else low}"].item(), up=is_above)
        settings.append(f"--set curation.{parameter}={value:g}")
    if reason == "blurry" and config.curation.soft_streams == "drop":
        settings.append("or --set curation.soft_streams=keep, if its frames are all alike,")
    if settings:
        yield f"  {reason} throughout: {', '.join(parts)}; {' '.join(settings)} keeps most of them, {ignoring}"
    else:
        yield f"  {reason} throughout; {ignoring}"


def _rounded(value: float, up: bool) -> float:
    """Return a number with two digits that is not below, or not above, another one."""
    step = 10.0 ** (len(f"{abs(value):.0f}") - 2) if abs(value) >= 1 else 0.01
    steps = value / step
    return step * (int(steps) + 1 if up else int(steps))
