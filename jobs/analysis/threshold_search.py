"""Search of thresholds for duplicates and idle intervals that fit ground-truth labels best."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

import schemas
from jobs.views.view import View
from transforms.assess import curation_scores
from transforms.curate.duplicates.grouping import MARKED, DuplicateParams
from transforms.curate.idle import FINGERPRINTS, MOTION, Course, IdleParams, course_of, find_idle

Params = TypeVar("Params", DuplicateParams, IdleParams)
Suggested = dict[str, Any]
"""`parameter`, `configured`, its scores, and the `suggested` value with its scores."""

_RADII = range(17)
_STEPS = 41


def configured(view: View, default: Params, stage: str) -> dict[str, Params]:
    """Return the parameters of a stage with which each stream's rows were computed, if a run has recorded them."""
    keys = view.selection.keys.get(stage, {})
    runs = view.lazy("stage_runs").filter(pl.col("stage_key").is_in(sorted(set(keys.values()))))
    names = {f"{stage}.{f.name}": f.name for f in fields(default)}
    of_key = {
        key: type(default)(**{names[name]: value for name, value in json.loads(params).items() if name in names})
        for key, params in runs.select("stage_key", "params").unique("stage_key").collect().iter_rows()
    }
    return {stream: of_key[key] for stream, key in keys.items() if key in of_key}


def suggest_duplicates(
    distance: npt.NDArray[np.int64],
    agreement: npt.NDArray[np.float32] | None,
    marked: npt.NDArray[np.bool_] | None,
    truth: npt.NDArray[np.bool_],
    params: DuplicateParams,
) -> list[Suggested]:
    """Return the Hamming radius, and the least agreement, with the best F1 over N labelled pairs.

    `agreement`, (N,), and `marked`, (N,), the pairs that differ in a corner only, are None if layouts are not used for
    verification. Of several best values, those nearest to the configured ones are returned. Nothing is suggested
    without pairs of both kinds.
    """
    if truth.all() or not truth.any():
        return []
    none = np.zeros(len(truth), np.bool_)
    agreed = np.ones(len(truth), np.float32) if agreement is None else agreement

    def called(radius: int, least: float) -> npt.NDArray[np.bool_]:
        corner = none if marked is None else marked & (distance <= MARKED * radius)
        return ((distance <= radius) & (agreed >= least)) | corner

    best: tuple[float, float, float] | None = None
    suggested = (params.hamming, params.agreement)
    for radius in _RADII:
        for least in [params.agreement] if agreement is None else _limits(agreed, distance <= radius, truth, params):
            f1 = curation_scores.agreement(called(radius, least), truth).f1
            rank = (-f1, abs(radius - params.hamming), abs(least - params.agreement))
            if best is None or rank < best:
                best, suggested = rank, (radius, least)
    before = curation_scores.agreement(called(params.hamming, params.agreement), truth)
    found = curation_scores.agreement(called(*suggested), truth)
    judged = {
        "precision": before.precision,
        "recall": before.recall,
        "suggested_precision": found.precision,
        "suggested_recall": found.recall,
    }
    rows = [{"parameter": "duplicates.hamming", "configured": params.hamming, "suggested": suggested[0]}]
    if agreement is not None:
        rows.append({"parameter": "duplicates.agreement", "configured": params.agreement, "suggested": suggested[1]})
    return [row | judged for row in rows]


def _limits(
    agreement: npt.NDArray[np.float32],
    near: npt.NDArray[np.bool_],
    truth: npt.NDArray[np.bool_],
    params: DuplicateParams,
) -> list[float]:
    """Return thresholds of agreement to try: the configured one, and the best one for near pairs, also rounded."""
    found = curation_scores.best_threshold(np.where(near, agreement, -1.0).astype(np.float64), truth).threshold
    return [params.agreement, *(float(np.clip(value, 0, 1)) for value in (round(found, 3), found))]


def suggest_idle(view: View, labels: pl.DataFrame, of_stream: dict[str, IdleParams]) -> list[Suggested]:
    """Return the `idle.threshold` whose intervals fit the labelled ones best, by intersection over union of frames.

    `labels` has a row per labelled interval, or one of nulls for a stream without any. Thresholds are tried around the
    configured one, up to ten times as high or low. Nothing is suggested if no interval is labelled.
    """
    truth = {
        stream: rows.drop_nulls().select("start_idx", "end_idx").rows()
        for (stream,), rows in labels.group_by("stream_id", maintain_order=True)
        if stream in of_stream
    }
    if not any(truth.values()):
        return []
    courses = {str(stream): _course(view, str(stream)) for stream in truth}
    now = of_stream[str(next(iter(truth)))].threshold
    tried = [now, *(round(now * 10**power, 4) for power in np.linspace(-1, 1, _STEPS))]
    tried = [threshold for threshold in tried if 0 < threshold <= 1]
    ious = [_iou(courses, truth, of_stream, threshold) for threshold in tried]
    best = max(ious)
    # Often a range of thresholds scores best: its middle is the farthest from worse ones.
    level = sorted(threshold for threshold, iou in zip(tried, ious, strict=True) if iou == best)
    suggested = now if ious[0] == best else level[len(level) // 2]
    return [
        {
            "parameter": "idle.threshold",
            "configured": now,
            "suggested": suggested,
            "iou": ious[0],
            "suggested_iou": best,
        }
    ]


def _iou(
    courses: dict[str, tuple[npt.NDArray[np.int64], Course]],
    truth: dict[Any, list[Any]],
    of_stream: dict[str, IdleParams],
    threshold: float,
) -> float:
    """Return the frames that are both labelled and detected as idle over those that are either, over all streams."""
    both = either = 0
    for stream, (index, course) in courses.items():
        given = {f.name: getattr(of_stream[stream], f.name) for f in fields(IdleParams)}
        intervals = find_idle(course, IdleParams(**{**given, "threshold": threshold}))
        found = list(zip(index[intervals.first].tolist(), index[intervals.last].tolist(), strict=True))
        shared = sum(max(0, min(last, b) - max(first, a) + 1) for a, b in truth[stream] for first, last in found)
        both += shared
        either += sum(b - a + 1 for a, b in [*truth[stream], *found]) - shared
    return both / either if either else math.nan


def _course(view: View, stream: str) -> tuple[npt.NDArray[np.int64], Course]:
    """Return the frame numbers of a stream, shape (N,), and the measures from which idle intervals are detected."""
    mine = pl.col("stream_id") == stream
    hashed = view.lazy("fingerprints").filter(mine).select(FINGERPRINTS).collect()
    moved = view.lazy("motion").filter(mine).select(MOTION).collect()
    starts = view.lazy(schemas.SCENES.name).filter(mine).select("start_idx").collect()["start_idx"].to_numpy()
    kinds = view.lazy("streams").filter(mine).select("kind").collect()["kind"].to_list()
    return course_of(hashed, moved, starts, "video" in kinds)
