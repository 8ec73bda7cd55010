"""Annotations in the report: classes, scores, tracks, what was reviewed, and frames with boxes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import polars as pl

import schemas
from jobs.analysis import charts
from jobs.analysis.chart_axes import Limit
from jobs.analysis.report_sheets import spread, with_objects
from jobs.views.view import View
from schemas import FRAME_KEY

_CLASSES = 12
_EXAMPLES = 24
_COLORS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#42d4f4", "#f032e6", "#bfef45", "#9a6324", "#ffe119")
_OTHERS = "#a9a9a9"


def objects_values(view: View, frames: pl.DataFrame, limits: Sequence[Limit], readers: ThreadPoolExecutor) -> Any:
    """Return what is shown of the final objects of a view; None where no frame was annotated and nothing reviewed.

    `frames` has `stream_id`, `frame_idx`, `uri`, `width` and `height` of the frames to show. `limits` are drawn into
    the histograms of scores.
    """
    annotated = view.lazy(schemas.ANNOTATED.name).select(FRAME_KEY).collect()
    reviewed = view.lazy("reviewed_frames").select(*FRAME_KEY, "reviewer").collect()
    columns = ["category", "score", "track_id", "source", "decision", "bbox_x", "bbox_y", "bbox_w", "bbox_h"]
    objects = view.lazy("objects").select(*FRAME_KEY, *columns).collect()
    if not (annotated.height or reviewed.height or objects.height):
        return None
    classes = _classes(objects)
    colors = {row["category"]: row["color"] for row in classes}
    known = pl.concat([annotated, reviewed.select(FRAME_KEY)]).unique()
    tracks = objects.drop_nulls("track_id").group_by("stream_id", "track_id").agg(pl.len(), pl.first("category"))
    scores = objects["score"].drop_nulls().to_numpy()
    return {
        "n_objects": objects.height,
        "n_annotated": annotated.height,
        "n_background": known.join(objects, on=FRAME_KEY, how="anti").height,
        "n_reviewed": reviewed.height,
        "reviewers": reviewed["reviewer"].drop_nulls().unique().sort().to_list(),
        "routes": _routes(view, reviewed),
        "classes": classes[:_CLASSES],
        "n_more_classes": max(0, len(classes) - _CLASSES),
        "n_tracks": tracks.height,
        "longest": int(tracks["len"].max() or 0),  # type: ignore[arg-type]
        "median": float(tracks["len"].median() or 0),  # type: ignore[arg-type]
        "charts": [
            charts.histogram(scores, "scores of all objects, 0 to 1", limits, bounds=(0, 1)),
            *_histograms(objects, classes, limits),
        ],
        "examples": _examples(objects, frames, colors, readers),
    }


def _classes(objects: pl.DataFrame) -> list[dict[str, Any]]:
    """Return counts of each category, the most frequent first, with the colour of its boxes."""
    found = objects.group_by("category").agg(
        objects=pl.len(),
        frames=pl.struct(FRAME_KEY).n_unique(),
        tracks=pl.struct("stream_id", "track_id").filter(pl.col("track_id").is_not_null()).n_unique(),
        score=pl.col("score").median(),
        reviewed=pl.col("decision").is_not_null().sum(),
        sources=pl.col("source").unique().sort(),
    )
    rows = found.sort(["objects", "category"], descending=[True, False]).to_dicts()
    colors = (*_COLORS, *[_OTHERS] * len(rows))
    return [{**row, "color": color} for row, color in zip(rows, colors, strict=False)]


def _histograms(objects: pl.DataFrame, classes: Sequence[dict[str, Any]], limits: Sequence[Limit]) -> list[Any]:
    drawn = []
    for row in classes[:5] if len(classes) > 1 else ():
        mine = objects.filter(pl.col("category") == row["category"])["score"].drop_nulls().to_numpy()
        drawn.append(charts.histogram(mine, f"scores of {row['category']}, 0 to 1", limits, bounds=(0, 1)))
    return drawn


def _routes(view: View, reviewed: pl.DataFrame) -> list[tuple[str, int]]:
    """Return how many frames that no person has reviewed wait for whom; nothing where frames are not routed."""
    routes = view.lazy(schemas.ROUTING.name).select(*FRAME_KEY, "route").collect()
    waiting = routes.join(reviewed, on=FRAME_KEY, how="anti").group_by("route").len()
    return list(waiting.sort("len", "route", descending=[True, False]).iter_rows())


def _examples(
    objects: pl.DataFrame, frames: pl.DataFrame, colors: dict[str, str], readers: ThreadPoolExecutor
) -> Sequence[Any]:
    """Return frames with their boxes: the same number of each of the most frequent categories, evenly spaced."""
    if not objects.height:
        return ()
    names = list(colors)[: min(_CLASSES, len(colors))]
    each = max(1, _EXAMPLES // len(names))
    keys = []
    for name in names:
        mine = objects.filter(pl.col("category") == name).select(FRAME_KEY).unique().sort(FRAME_KEY)
        keys.append(spread(mine, each))
    chosen = pl.concat(keys).unique(maintain_order=True)
    boxes = objects.join(chosen, on=FRAME_KEY, how="semi").with_columns(
        box=pl.concat_list(pl.col(f"bbox_{edge}").cast(pl.Float32) for edge in "xywh"),
        color=pl.col("category").replace_strict(colors, default=_OTHERS).map_elements(_rgb, pl.List(pl.UInt8)),
    )
    by_frame = boxes.sort("score", descending=True).group_by(FRAME_KEY).agg(boxes="box", colors="color")
    shown = chosen.join(by_frame, on=FRAME_KEY, how="left").join(frames, on=FRAME_KEY, how="inner")
    return with_objects(shown.filter(pl.col("width").is_not_null()), readers)


def _rgb(color: str) -> list[int]:
    return list(bytes.fromhex(color[1:]))
