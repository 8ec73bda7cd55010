"""Streams in the report: timelines with thresholds, and histograms of what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

import schemas
from conf import PipelineConfig
from jobs.analysis import charts
from jobs.analysis.chart_axes import Array, FrameAxis, Limit, time_text
from jobs.analysis.timelines import scene_strip, timeline, verdict_strip
from transforms.curate.soft_streams import stream_levels

_SOFT = {"keep": "of a stream whose frames are all alike, only what is low for the stream; ", "drop": ""}

# Without `laplacian_var`, which `sharpness` may repeat.
MEASURES = [c for c in schemas.QUALITY.columns if pa.types.is_floating(c.dtype) and c.name != "laplacian_var"]
MEASURES += [c for c in schemas.MOTION.columns if c.name == "motion_peak"]
"""The columns that are drawn."""

_LINES = (
    ("sharpness", "sharpness (log scale)"),
    ("luma_mean", "mean luma, 0 (black) to 255 (white)"),
    ("motion_peak", "motion peak, a share of black to white"),
)


def stream_values(
    row: Mapping[str, Any],
    frames: pl.DataFrame,
    idle: pl.DataFrame,
    scenes: pl.DataFrame,
    config: PipelineConfig | None,
) -> dict[str, Any]:
    """Return a row of `streams` with its charts by number, and by time where the times of its frames are known.

    `frames` has the frames of this stream and others, in order; `idle` and `scenes` the rows of these tables.
    """
    stream = pl.col("stream_id") == row["stream_id"]
    mine = frames.filter(stream)
    bands = list(idle.filter(stream).select("start_idx", "end_idx").iter_rows())
    cuts = list(scenes.filter(stream).select("scene_idx", "start_idx", "end_idx", "begins").iter_rows())
    gaps = [(g["start"], g["end"]) for g in row["gaps"]]
    found: dict[str, Any] = {**row, "n_idle": len(bands), "n_scenes": len(cuts), "by_number": [], "by_time": []}
    found["kept"] = int(mine["keep"].sum() or 0)
    found["times"] = ""
    if not mine.height:
        return found
    limits = _limits(config)
    if config is not None and limits["sharpness"]:
        limits["sharpness"] = _blur_limits_of(mine, config)
    by_number = FrameAxis.of(mine["frame_idx"].to_numpy(), gaps)
    found["by_number"] = _drawn(by_number, mine, bands, cuts, gaps, limits)
    timed = mine.filter(pl.col("t_ns").is_not_null())
    times = timed["t_ns"].to_numpy()
    if len(times) > 1 and bool((np.diff(times) > 0).all()):
        by_time = FrameAxis.of(timed["frame_idx"].to_numpy(), gaps, times)
        found["by_time"] = _drawn(by_time, timed, bands, cuts, gaps, limits)
        found["times"] = f"{time_text(int(times[0]))} to {time_text(int(times[-1]))}{_of_source(timed)}"
    return found


def _of_source(frames: pl.DataFrame) -> str:
    sources = frames["time_source"].drop_nulls().unique().sort().to_list()
    return f" (by {', '.join(sources)})" if sources else ""


def _drawn(
    axis: FrameAxis,
    frames: pl.DataFrame,
    bands: Sequence[tuple[int, int]],
    scenes: Sequence[tuple[int, int, int, str]],
    gaps: Sequence[tuple[int, int]],
    limits: Mapping[str, Sequence[Limit]],
) -> list[Any]:
    index = frames["frame_idx"].to_numpy()
    drawn = [verdict_strip(axis, frames["keep"].fill_null(False).to_numpy()), scene_strip(axis, index, scenes)]
    for name, title in _LINES:
        column = next(c for c in MEASURES if c.name == name)
        values: Array = frames[name].to_numpy()
        log, bounds = _is_wide(column), _bounds(column)
        drawn.append(timeline(axis, index, values, title, bands, gaps, limits.get(name, ()), log, bounds))
    return drawn


def _limits(config: PipelineConfig | None) -> dict[str, Sequence[Limit]]:
    """Return the thresholds to draw in the charts of each column."""
    if config is None:
        return {"sharpness": []}
    curation = config.curation
    blur = curation.blur_limits(config.blur.method)
    found = {
        "blurry": {"sharpness": [Limit(blur.floor, "blurry below"), Limit(blur.below, "sharp enough above")]},
        "dark": {
            "luma_mean": [Limit(curation.dark_mean, "dark below")],
            "luma_p95": [Limit(curation.dark_p95, "dark below")],
        },
        "overexposed": {
            "luma_mean": [Limit(curation.overexposed_mean, "overexposed above")],
            "luma_p50": [Limit(curation.overexposed_p50, "overexposed above")],
        },
        "low_information": {"entropy": [Limit(curation.low_information_entropy, "low information below")]},
        "idle": {"motion_peak": [Limit(config.idle.threshold, "idle below")]},
    }
    limits: dict[str, list[Limit]] = {"sharpness": []}
    for reason, columns in found.items():
        for column, drawn in columns.items() if reason == "idle" or reason not in curation.ignore else ():
            limits.setdefault(column, []).extend(drawn)
    return dict(limits)


def _blur_limits_of(frames: pl.DataFrame, config: PipelineConfig) -> Sequence[Limit]:
    """Return the sharpness below which frames of one stream are blurry, with the rule that it follows from."""
    limits, relative = config.curation.blur_limits(config.blur.method), config.curation.blurry_relative
    unexposed = ["corrupt", "damaged", "dark", "overexposed", "low_information"]
    exposed = frames.filter(pl.col("reasons").list.set_intersection(unexposed).list.len() == 0)
    found = stream_levels(exposed, "stream_id", limits.floor).row(0, named=True) if exposed.height else {"level": None}
    level, floor = found["level"], Limit(limits.floor, "blurry below")
    if level is None:
        return [floor]
    if relative * level <= limits.floor:
        if found["alike"] and config.curation.soft_streams == "keep":
            return [Limit(relative * level, f"blurry below {relative:g} of its level,")]
        return [floor]
    if relative * level >= limits.below:
        return [Limit(limits.below, "blurry below")] if limits.below > limits.floor else [floor]
    return [Limit(relative * level, f"blurry below {relative:g} of its level,")]


def blur_rules(configs: Mapping[str, PipelineConfig]) -> list[str]:
    """Return the rule for blur in words; with the streams if it is not the same for all."""
    rules: dict[str, list[str]] = {}
    for stream, config in configs.items():
        if "blurry" not in config.curation.ignore:
            rules.setdefault(_blur_rule(config), []).append(stream)
    if len(rules) < 2:
        return list(rules)
    return [f"{', '.join(streams)}: {rule}" for rule, streams in rules.items()]


def _blur_rule(config: PipelineConfig) -> str:
    limits, relative = config.curation.blur_limits(config.blur.method), config.curation.blurry_relative
    return (
        f"A frame is blurry if its sharpness ({config.blur.method}) is below {limits.floor:g}, or below both "
        f"{limits.below:g} and {relative:g} times its stream's level, which is the upper quartile of the stream's "
        f"well-exposed frames; {_SOFT[config.curation.soft_streams]}frames with bad exposure are not judged for blur. "
        "In a stream's chart the line is the limit of that stream."
    )


def histograms(frames: pl.DataFrame, configs: Mapping[str, PipelineConfig]) -> Iterator[Any]:
    """Draw each measure, with the thresholds of all streams; sharpness separately for each method."""
    by_method: dict[str, list[str]] = {}
    for stream, config in configs.items():
        by_method.setdefault(config.blur.method, []).append(stream)
    for column in MEASURES:
        if column.name != "sharpness" or len(by_method) < 2:
            yield _histogram(frames, column, list(configs.values()), _title(column))
            continue
        for method, streams in by_method.items():
            mine = frames.filter(pl.col("stream_id").is_in(streams))
            yield _histogram(mine, column, [configs[s] for s in streams], f"{_title(column)}, {method}")


def _histogram(frames: pl.DataFrame, column: schemas.Column, configs: Sequence[PipelineConfig], title: str) -> Any:
    limits = dict.fromkeys(limit for config in configs for limit in _limits(config).get(column.name, ()))
    values = frames[column.name].drop_nulls().to_numpy()
    return charts.histogram(values, title, list(limits), _is_wide(column), _bounds(column))


def _title(column: schemas.Column) -> str:
    name = column.name.replace("_", " ")
    if _is_wide(column):
        return f"{name}{f', {column.unit}' if column.unit else ''} (log scale)"
    bounds = _bounds(column)
    if bounds is None:
        return f"{name}, a share of black to white"
    if bounds[1] == 255:
        return f"{name}, 0 (black) to 255 (white)"
    return f"{name}, {bounds[0]:g} to {bounds[1]:g} {column.unit.partition(' ')[0]}"


def _is_wide(column: schemas.Column) -> bool:
    """Return whether a column's values span orders of magnitude, which is assumed if they have no upper bound."""
    return column.high is None


def _bounds(column: schemas.Column) -> tuple[float, float] | None:
    """Return the ends of a column's axis, those of all its possible values; None where most values are near zero."""
    if column.low is None or column.high is None or column.high <= 1:
        return None
    return column.low, column.high
