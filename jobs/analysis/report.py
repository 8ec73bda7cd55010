"""The report: one self-contained HTML file about the contents of a workspace."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa

import schemas
from conf import PipelineConfig
from jobs.analysis import charts
from jobs.analysis.charts import Limit
from jobs.analysis.curation_configs import curation_configs
from jobs.analysis.pages import render_page
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.views.curation_counts import Verdicts, verdicts
from jobs.views.snapshot_spec import find_release, find_run
from jobs.views.view import View
from transforms.curate.curation import REASONS
from transforms.curate.soft_streams import stream_levels
from transforms.frames.frame_image import thumbnail_of
from transforms.frames.image import CorruptImageError

_SOFT = {"keep": "of a stream whose frames are all alike, only what is low for the stream; ", "drop": ""}
_THUMB_SIDE = 192
_PER_SHEET = 24
_GROUPS = 8
_PER_GROUP = 6
_MOST_STREAMS = 20

# Without `laplacian_var`, which `sharpness` may repeat.
_MEASURES = [c for c in schemas.QUALITY.columns if pa.types.is_floating(c.dtype) and c.name != "laplacian_var"]
_MEASURES += [c for c in schemas.MOTION.columns if c.name == "motion_peak"]
_COLUMNS = [
    "stream_id",
    "frame_idx",
    "uri",
    "status",
    *(c.name for c in _MEASURES),
    "group_id",
    "is_representative",
    "keep",
    "reasons",
]


@dataclass(frozen=True)
class Thumb:
    """One image of a contact sheet; `data` is a data URI, None if the file cannot be shown."""

    label: str
    data: str | None


def render(workspace: Workspace, run: str | None = None, release: str | None = None) -> str:
    """Return the report of a workspace, a run or a release as self-contained HTML."""
    view = View.of(workspace, run, release)
    store = Store(workspace.root)
    frames = view.lazy("curated").select(_COLUMNS).sort(schemas.FRAME_KEY).collect()
    streams = view.lazy("streams").filter(pl.col("stream_id").is_in(view.selection.streams)).sort("stream_id").collect()
    heads = store.read(schemas.HEADS).to_pylist()
    last = max((h["job_id"] for h in heads), default=None)
    shown = find_run(store, run)["job_id"] if run else find_release(store, release)["job_id"] if release else last
    configs = curation_configs(store, view)
    idle = view.lazy("idle").sort("stream_id", "start_idx").collect()
    with ThreadPoolExecutor(4) as readers:
        return render_page(
            "report.html.j2",
            title=f"Winnow: {workspace.root.name}",
            source=f"release {release}" if release else f"run {shown}" if shown else "no run yet",
            verdicts=verdicts(view),
            bars=_bars(verdicts(view)),
            streams=[
                _stream(row, frames, idle, configs.get(row["stream_id"]))
                for row in streams.head(_MOST_STREAMS).to_dicts()
            ],
            n_more_streams=max(0, streams.height - _MOST_STREAMS),
            histograms=list(_histograms(frames, configs)),
            blur_rules=_blur_rules(configs),
            sheets=list(_sheets(frames, readers)),
            groups=list(_groups(frames, readers)),
        )


def _bars(found: Verdicts) -> list[dict[str, Any]]:
    entries = [("kept", found.kept), *found.reasons.items()]
    most = max((n for _, n in entries), default=1) or 1
    return [{"name": name, "n": n, "share": 100 * n / most} for name, n in entries]


def _stream(
    row: dict[str, Any], frames: pl.DataFrame, idle: pl.DataFrame, config: PipelineConfig | None
) -> dict[str, Any]:
    mine = frames.filter(pl.col("stream_id") == row["stream_id"])
    bands = [(i["start_idx"], i["end_idx"]) for i in idle.filter(pl.col("stream_id") == row["stream_id"]).to_dicts()]
    gaps = [(g["start"], g["end"]) for g in row["gaps"]]
    index = mine["frame_idx"].to_numpy()
    limits = _limits(config)
    if config is not None and limits["sharpness"]:
        limits["sharpness"] = _blur_limits_of(mine, config)
    lines = [
        charts.timeline(index, mine[column].to_numpy(), title, bands, gaps, limits.get(column, ()), log=log)
        for column, title, log in (
            ("sharpness", "sharpness", True),
            ("luma_mean", "mean luma, 0 to 255", False),
            ("motion_peak", "motion peak, 0 to 1", False),
        )
    ]
    strip = charts.verdict_strip(index, mine["keep"].fill_null(False).to_numpy())
    return {**row, "kept": int(mine["keep"].sum() or 0), "charts": [strip, *lines], "n_idle": len(bands)}


def _limits(config: PipelineConfig | None) -> dict[str, Sequence[Limit]]:
    """Return the thresholds to draw in the charts of each column."""
    if config is None:
        return {}
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


def _blur_rules(configs: Mapping[str, PipelineConfig]) -> list[str]:
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


def _histograms(frames: pl.DataFrame, configs: Mapping[str, PipelineConfig]) -> Iterator[Any]:
    """Draw each measure, with the thresholds of all streams; sharpness separately for each method."""
    by_method: dict[str, list[str]] = {}
    for stream, config in configs.items():
        by_method.setdefault(config.blur.method, []).append(stream)
    for column in _MEASURES:
        if column.name != "sharpness" or len(by_method) < 2:
            yield _histogram(frames, column, list(configs.values()), _title(column))
            continue
        for method, streams in by_method.items():
            mine = frames.filter(pl.col("stream_id").is_in(streams))
            yield _histogram(mine, column, [configs[s] for s in streams], f"{_title(column)}, {method}")


def _histogram(frames: pl.DataFrame, column: schemas.Column, configs: Sequence[PipelineConfig], title: str) -> Any:
    limits = dict.fromkeys(limit for config in configs for limit in _limits(config).get(column.name, ()))
    return charts.histogram(frames[column.name].drop_nulls().to_numpy(), title, list(limits), _is_wide(column))


def _title(column: schemas.Column) -> str:
    scale = f", {column.unit}" if column.unit else ""
    return f"{column.name.replace('_', ' ')}{scale}{' (log scale)' if _is_wide(column) else ''}"


def _is_wide(column: schemas.Column) -> bool:
    """Return whether a column's values span orders of magnitude, which is assumed if they have no upper bound."""
    return column.high is None


def _sheets(frames: pl.DataFrame, readers: ThreadPoolExecutor) -> Iterator[dict[str, Any]]:
    kept = frames.filter("keep")
    if kept.height:
        yield {"reason": "kept", "n": kept.height, "thumbs": _thumbs(_spread(kept, _PER_SHEET), readers)}
    for reason in REASONS:
        found = frames.filter(pl.col("reasons").list.contains(reason))
        if found.height:
            yield {"reason": reason, "n": found.height, "thumbs": _thumbs(_spread(found, _PER_SHEET), readers)}


def _groups(frames: pl.DataFrame, readers: ThreadPoolExecutor) -> Iterator[dict[str, Any]]:
    sizes = frames.drop_nulls("group_id").group_by("group_id").len().filter(pl.col("len") > 1)
    for group, n in sizes.sort(["len", "group_id"], descending=[True, False]).head(_GROUPS).iter_rows():
        members = frames.filter(pl.col("group_id") == group).sort(
            ["keep", "is_representative", "stream_id", "frame_idx"], descending=[True, True, False, False]
        )
        yield {"group_id": group, "n": n, "thumbs": _thumbs(members.head(_PER_GROUP), readers)}


def _spread(rows: pl.DataFrame, n: int) -> pl.DataFrame:
    """Return at most `n` rows, evenly spaced."""
    return rows if rows.height <= n else rows.gather([i * rows.height // n for i in range(n)])


def _thumbs(rows: pl.DataFrame, readers: ThreadPoolExecutor) -> list[Thumb]:
    return list(readers.map(_thumb, rows.select("stream_id", "frame_idx", "uri", "keep").iter_rows()))


def _thumb(row: tuple[str, int, str, bool]) -> Thumb:
    stream, index, uri, keep = row
    # The number comes first, since labels are truncated at the end.
    label = f"{index}{' kept,' if keep else ''} {stream}"
    try:
        picture = thumbnail_of(uri, _THUMB_SIDE)
    except (OSError, CorruptImageError):
        return Thumb(label, None)
    return Thumb(label, f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}")
