"""The report: one self-contained HTML file about the contents of a workspace."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import polars as pl

import schemas
from conf import PipelineConfig
from conf.loader import to_dict, to_yaml
from jobs.analysis.chart_axes import Limit
from jobs.analysis.curation_configs import curation_configs
from jobs.analysis.pages import render_page
from jobs.analysis.report_objects import objects_values
from jobs.analysis.report_sheets import by_verdict, of_groups
from jobs.analysis.report_streams import MEASURES, blur_rules, histograms, stream_values
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.views.curation_counts import Verdicts, verdicts
from jobs.views.snapshot_spec import find_release, find_run
from jobs.views.view import View

_MOST_STREAMS = 20
_NAMED = 3
"""Streams in the title; further ones are counted."""

_COLUMNS = [
    *("stream_id", "frame_idx", "uri", "status", "width", "height", "time_source"),
    *(c.name for c in MEASURES),
    *("group_id", "is_representative", "keep", "reasons"),
]


def render(workspace: Workspace, run: str | None = None, release: str | None = None) -> str:
    """Return the report of a workspace, a run or a release as self-contained HTML."""
    view = View.of(workspace, run, release)
    store = Store(workspace.root)
    # Of a frame of a clip, its time in the clip.
    time = pl.coalesce("t_ns", "time_ns").alias("t_ns")
    frames = view.lazy("curated").select(*_COLUMNS, time).sort(schemas.FRAME_KEY).collect()
    streams = view.lazy("streams").filter(pl.col("stream_id").is_in(view.selection.streams)).sort("stream_id").collect()
    heads = store.read(schemas.HEADS).to_pylist()
    last = max((h["job_id"] for h in heads), default=None)
    shown = find_run(store, run)["job_id"] if run else find_release(store, release)["job_id"] if release else last
    configs = curation_configs(store, view)
    idle = view.lazy("idle").sort("stream_id", "start_idx").collect()
    scenes = view.lazy("scenes").sort("stream_id", "start_idx").collect()
    drawn = [
        stream_values(row, frames, idle, scenes, configs.get(row["stream_id"]))
        for row in streams.head(_MOST_STREAMS).to_dicts()
    ]
    found = verdicts(view)
    scores = dict.fromkeys(Limit(config.annotate.min_score, "least recorded") for config in configs.values())
    with ThreadPoolExecutor(4) as readers:
        return render_page(
            "report.html.j2",
            title=_title(streams["stream_id"].to_list(), workspace.root.name),
            source=f"release {release}" if release else f"run {shown}" if shown else "no run yet",
            verdicts=found,
            bars=_bars(found),
            streams=drawn,
            has_times=any(stream["by_time"] for stream in drawn),
            n_more_streams=max(0, streams.height - _MOST_STREAMS),
            histograms=list(histograms(frames, configs)),
            blur_rules=blur_rules(configs),
            objects=objects_values(view, frames.select(*_COLUMNS[:6]), list(scores), readers),
            sheets=list(by_verdict(frames, readers)),
            groups=list(of_groups(frames, readers)),
            settings=_settings(configs),
        )


def _title(streams: list[str], workspace: str) -> str:
    if not streams:
        return f"Winnow: {workspace}"
    more = len(streams) - _NAMED
    return f"Winnow: {', '.join(streams[:_NAMED])}{f' and {more} more' if more > 0 else ''} in {workspace}"


def _settings(configs: Mapping[str, PipelineConfig]) -> list[dict[str, Any]]:
    """Return each configuration once, with its streams: what differs from the defaults, and the whole."""
    found: dict[str, dict[str, Any]] = {}
    defaults = dict(_flat(to_dict(PipelineConfig())))
    for stream, config in configs.items():
        own = [(key, value, defaults.get(key)) for key, value in _flat(to_dict(config)) if value != defaults.get(key)]
        found.setdefault(to_yaml(config), {"streams": [], "own": own})["streams"].append(stream)
    return [{"text": text, **entry} for text, entry in found.items()]


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found = []
    for name, value in values.items():
        nested = isinstance(value, dict) and name != "when"
        found += _flat(value, f"{prefix}{name}.") if nested else [(prefix + name, value)]
    return found


def _bars(found: Verdicts) -> list[dict[str, Any]]:
    entries = [("kept", found.kept), *found.reasons.items()]
    most = max((n for _, n in entries), default=1) or 1
    return [{"name": name, "n": n, "share": 100 * n / most} for name, n in entries]
