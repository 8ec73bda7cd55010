"""Units of a split: how each stream is divided, and the unit of every frame of a view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from jobs.core.errors import UserError
from jobs.views import final_objects
from jobs.views.view import View
from schemas import FRAME_KEY
from transforms.core.intervals import place_in_intervals
from transforms.curate.continuity import is_continuous
from transforms.curate.splits import joined_keys
from transforms.metrics.hashing import layout_array

Division = Literal["group", "scene", "stream", "time", "track"]
"""How one stream is divided: what stays together in a split."""

BY_TIME: Division = "time"
BY_TRACK: Division = "track"

_PAIRS = 1000


def continuous_streams(view: View, streams: Sequence[str]) -> frozenset[str]:
    """Return the streams whose frames follow one another in time: clips, and folders by the layouts of their frames.

    Folders without layouts are taken for such. At most a thousand pairs of consecutive frames are compared in each
    stream, at equal distances.
    """
    shown = view.lazy("fingerprints").filter(pl.col("layout").is_not_null(), pl.col("stream_id").is_in(streams))
    keys = shown.select(FRAME_KEY).collect().sort(FRAME_KEY)
    at, last = pl.int_range(pl.len()).over("stream_id"), pl.len().over("stream_id") - 1
    wanted = pl.min_horizontal(last, pl.lit(_PAIRS))
    keys = keys.with_columns(earlier=pl.col("frame_idx").shift(1).over("stream_id"))
    pairs = keys.filter((at > 0) & (at * wanted // last != (at - 1) * wanted // last))
    earlier = pairs.select("stream_id", frame_idx="earlier")
    needed = pl.concat([pairs.select(FRAME_KEY), earlier]).unique().lazy()
    layouts = shown.select(*FRAME_KEY, "layout").join(needed, on=FRAME_KEY, how="semi").collect()
    before = earlier.join(layouts, on=FRAME_KEY, how="left", maintain_order="left")["layout"]
    after = pairs.join(layouts, on=FRAME_KEY, how="left", maintain_order="left")["layout"]
    both = np.stack([_array(before), _array(after)], axis=1)
    clips = view.lazy("streams").filter(pl.col("kind") != "folder").select("stream_id").collect()["stream_id"].to_list()
    found = set(streams) - (set(keys["stream_id"].unique().to_list()) - set(clips))
    for stream in pairs["stream_id"].unique().to_list():
        if is_continuous(both[(pairs["stream_id"] == stream).to_numpy()]):
            found.add(stream)
    return frozenset(found)


def _array(layouts: pl.Series) -> npt.NDArray[np.uint8]:
    return layout_array(layouts.to_frame().to_arrow()[0].cast(pa.binary()))


def divisions(view: View, streams: Sequence[str], too_short: frozenset[str], smallest: float) -> dict[str, Division]:
    """Return for each stream how it is best divided.

    A stream is divided by its scenes if these are many: none has more than half of the fraction of the `smallest`
    split. A stream of one scene, as a fixed camera gives, or of few is divided by time. Frames that do not follow one
    another are divided by groups of duplicates. Streams that are `too_short` for several blocks of time stay whole.
    """
    continuous = continuous_streams(view, streams)
    scenes = view.lazy("scenes").group_by("stream_id").agg(share=pl.col("n_frames").max() / pl.col("n_frames").sum())
    shares = dict(scenes.collect().iter_rows())

    def division(stream: str) -> Division:
        if stream not in continuous:
            return "group"
        if stream in too_short:
            return "stream"
        return BY_TIME if shares.get(stream, 1.0) > smallest / 2 else "scene"

    return {stream: division(stream) for stream in streams}


def unit_keys(view: View, frames: pl.DataFrame, by: Mapping[str, Division], near_duplicates: bool = False) -> pl.Series:
    """Return for each of N frames a key that is shared by its unit and by all units with duplicates of it.

    With `near_duplicates`, only units with frames of equal content share a key.


    `frames` has the key columns; `by` says how each stream of the view is divided: by groups, scenes or as a whole.
    Keys are computed from all frames of the view, so that they do not depend on which of them are exported. Frames of
    one content have one key, also where no stage has searched for duplicates. Raises `UserError` for streams without
    scenes.
    """
    everyone = view.lazy("frames").filter(pl.col("status") == "ok").select(*FRAME_KEY, "content_hash")
    groups = view.lazy("duplicates").select(*FRAME_KEY, "group_id").filter(not near_duplicates)
    known = everyone.join(groups, on=FRAME_KEY, how="left").filter(pl.col("stream_id").is_in(list(by))).collect()
    wanted = frames["stream_id"].unique().to_list()
    parts = []
    for division in sorted(set(by.values())):
        mine = known.filter(pl.col("stream_id").is_in([stream for stream, way in by.items() if way == division]))
        parts.append(_with_units(view, mine, division, wanted))
    placed = pl.concat(parts) if parts else known.with_columns(unit=pl.lit("", pl.String))
    columns = placed.to_arrow()
    keys = joined_keys(columns["unit"], columns["group_id"], columns["content_hash"])
    keyed = placed.select(FRAME_KEY).with_columns(key=pl.Series(keys.to_pylist(), dtype=pl.String))
    return frames.select(FRAME_KEY).join(keyed, on=FRAME_KEY, how="left", maintain_order="left")["key"]


def _with_units(view: View, frames: pl.DataFrame, division: Division, wanted: Sequence[str]) -> pl.DataFrame:
    """Add the column `unit` to frames with their key, `content_hash` and `group_id`."""
    columns = [*FRAME_KEY, "content_hash", "group_id", "unit"]
    if division == "group":
        return frames.with_columns(unit=pl.coalesce("group_id", "content_hash")).select(columns)
    if division == "stream":
        return frames.with_columns(unit=pl.col("stream_id")).select(columns)
    scenes = view.lazy("scenes").select("stream_id", "start_idx", "end_idx", first="start_idx").collect()
    placed = place_in_intervals(frames, scenes)
    lost = placed.filter(pl.col("first").is_null(), pl.col("stream_id").is_in(wanted))
    if missing := sorted(lost["stream_id"].unique().to_list()):
        raise UserError(f"streams without scenes: {', '.join(missing)}; run them with the stage scenes")
    unit = pl.concat_str("stream_id", pl.lit(":"), pl.col("first").fill_null(-1))
    return placed.with_columns(unit=unit).select(columns)


def track_keys(view: View, frames: pl.DataFrame) -> pl.Series:
    """Return a key per frame: of the run of overlapping tracks that holds it, or of the gap between two of them.

    Raises `UserError` for streams without tracks.
    """
    spans = _track_spans(view)
    if missing := sorted(set(frames["stream_id"].to_list()) - set(spans["stream_id"].to_list())):
        raise UserError(
            f"streams without tracks: {', '.join(missing)}; run them with the stages annotate and track, or choose "
            "--split-by time"
        )
    before = pl.col("last").cum_max().shift(1).over("stream_id")
    runs = spans.sort("stream_id", "first", "last").with_columns(begins=(pl.col("first") > before).fill_null(True))
    in_runs = runs.with_columns(run=pl.col("begins").cum_sum()).group_by("stream_id", "run")
    merged = in_runs.agg(start=pl.col("first").min(), end=pl.col("last").max()).sort("stream_id", "start")
    placed = (
        frames.select(FRAME_KEY)
        .with_row_index("row")
        .sort("stream_id", "frame_idx")
        .join_asof(
            merged, left_on="frame_idx", right_on="start", by="stream_id", check_sortedness=False, coalesce=False
        )
        .sort("row")
    )
    inside = pl.when(pl.col("frame_idx") <= pl.col("end")).then(pl.lit("in")).otherwise(pl.lit("after"))
    named = pl.concat_str("stream_id", pl.lit(":"), inside, pl.lit(":"), pl.col("start").fill_null(-1))
    return placed.select(named.alias("key"))["key"]


def _track_spans(view: View) -> pl.DataFrame:
    """Return the tracks that a view shows: `stream_id`, `track_id`, numbers of their `first` and `last` frame."""
    objects = view.lazy(final_objects.NAME).filter(pl.col("track_id").is_not_null())
    spans = objects.group_by("stream_id", "track_id").agg(
        first=pl.col("frame_idx").min(), last=pl.col("frame_idx").max()
    )
    return spans.sort("stream_id", "track_id").collect()
