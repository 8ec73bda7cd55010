"""Uncertainty of detections per frame, and assignment of the most uncertain frames to reviewers."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from annotated_types import Ge, Gt, Le

import schemas
from transforms.core.boxes import FloatArray, box_iou
from transforms.core.identity import hash_strings
from transforms.core.table_stage import TableInput, TableOutput

DOUBTS = ("low_margin", "disagreement", "flicker", "count_jump")
"""The measures of uncertainty, which are also column names."""

OBJECT_COLUMNS = ("frame_idx", "category", "score", "bbox_x", "bbox_y", "bbox_w", "bbox_h", "track_id")

_KEY = ["stream_id", "frame_idx"]
_NEAR = ("group_id", "second")
_SAME_THING = 0.3
_LEAST_JUMP = 2
_LEAST_RANGE = 1e-6
_FLICKER_WEIGHT = 2
"""What an object that flickers counts for, compared with one at the threshold: it is nearly always an error."""

_AROUND = 2


@dataclass(frozen=True)
class RouteParams:
    """What makes a frame uncertain, and how many frames a run may send to each reviewer.

    `margin`: a score within this distance above `annotate.min_score` counts for `low_margin`.
    `overlap`: two detectors agree on an object if their boxes of one category have at least this intersection over
    union.
    `second`: weights of a second detector, which is only used for the comparison; none for no second detector.
    `second_detector`: what runs them; none for the same as `annotate.detector`.
    `threshold`: frames whose uncertainty is below it need no review.
    `budget_person`: the most frames in the review queue at a time: the most uncertain ones that no person has reviewed,
    those that curation keeps before others, and never two of one group of duplicates.
    `spread`: of frames of a stream that are no further apart, only the most uncertain one is in the queue: seconds of
    the time in a clip, or else of frames one second apart; 0 for no limit.
    `budget_vlm`: how many of the next most uncertain the stage `escalate` sends to a vision language model.
    `budget_larger`: how many of those after them the stage `larger` sends to a larger detector.
    `larger`: weights of that detector; none for no larger detector.
    `larger_detector`: what runs them; none for the same as `annotate.detector`.
    """

    margin: Annotated[float, Gt(0), Le(1)] = 0.15
    overlap: Annotated[float, Gt(0), Le(1)] = 0.5
    second: str | None = None
    second_detector: str | None = None
    threshold: Annotated[float, Gt(0), Le(1)] = 0.3
    budget_person: Annotated[int, Ge(0)] = 100
    spread: Annotated[float, Ge(0)] = 1.0
    budget_vlm: Annotated[int, Ge(0)] = 0
    budget_larger: Annotated[int, Ge(0)] = 0
    larger: str | None = None
    larger_detector: str | None = None


class FrameObjects(NamedTuple):
    """The objects of one frame: boxes, scores, categories, and track ids or None.

    `boxes` has shape (N, 4), float64: left, top, width, height in pixels; `scores` has shape (N,), 0..1.
    """

    boxes: FloatArray
    scores: FloatArray
    categories: list[str]
    tracks: list[int | None]

    def __len__(self) -> int:
        return len(self.scores)


NO_OBJECTS = FrameObjects(np.empty((0, 4)), np.empty(0), [], [])


def doubts_of(
    frames: Sequence[int],
    step: int,
    objects: pl.DataFrame,
    others: pl.DataFrame | None,
    params: RouteParams,
    min_score: float,
) -> pl.DataFrame:
    """Return the measures `DOUBTS` of each frame of a stream, 0..1, `expected_errors` and `frame_idx`, in frame order.

    `objects` and `others`, those of a second detector, have the `OBJECT_COLUMNS`. Frames are consecutive if their
    numbers differ by at most `step`; the temporal measures (`flicker`, `count_jump`) need both neighbours and are 0
    without.
    """
    found, theirs = _by_frame(objects), _by_frame(others) if others is not None else None
    rows = [found.get(number, NO_OBJECTS) for number in frames]
    follows = np.diff(np.asarray(frames, np.int64), prepend=np.iinfo(np.int32).min) <= step
    counts = np.array([len(row) for row in rows], np.int64)
    columns: dict[str, list[float]] = {name: [] for name in (*DOUBTS, "expected_errors")}
    for at, (number, mine) in enumerate(zip(frames, rows, strict=True)):
        inside = 0 < at < len(rows) - 1 and follows[at] and follows[at + 1]
        other = None if theirs is None else theirs.get(number, NO_OBJECTS)
        alone, total = (0.0, 0.0) if other is None else unmatched(mine, other, params.overlap)
        flickering, known = flickers(rows[at - 1], mine, rows[at + 1]) if inside else (0, 0)
        jump = count_jump(counts, follows, at) if inside else 0.0
        columns["low_margin"].append(low_margin(mine.scores, min_score, params.margin))
        columns["disagreement"].append(float(np.clip(alone / total, 0, 1)) if total > 0 else 0.0)
        columns["flicker"].append(flickering / known if known else 0.0)
        columns["count_jump"].append(jump)
        columns["expected_errors"].append(
            expected_errors(mine.scores, min_score) + _FLICKER_WEIGHT * flickering + alone + jump
        )
    numbers = {"frame_idx": pl.Series(list(frames), dtype=pl.Int64)}
    return pl.DataFrame(numbers | {name: pl.Series(values, dtype=pl.Float64) for name, values in columns.items()})


def expected_errors(scores: FloatArray, min_score: float) -> float:
    """Return how many of a frame's objects are expected to be wrong, by their scores, shape (N,), 0..1.

    An object of score 1 counts for nothing, one at the threshold as one error, the square in between. A sum does not
    saturate: the more weak objects there are, the more uncertain is the frame.
    """
    return float((np.clip((1 - scores) / max(1 - min_score, _LEAST_RANGE), 0, 1) ** 2).sum())


def low_margin(scores: FloatArray, min_score: float, margin: float) -> float:
    """Return 1 if the lowest score is at the threshold, 0 if it is `margin` or more above it, or without objects."""
    return float(np.clip(1 - (scores.min() - min_score) / margin, 0, 1)) if len(scores) else 0.0


def unmatched(one: FrameObjects, other: FrameObjects, overlap: float) -> tuple[float, float]:
    """Return the sum of the scores of two detectors' objects that only one of them found, and that of all objects."""
    total = float(one.scores.sum() + other.scores.sum())
    agreed = float(sum(one.scores[a] + other.scores[b] for a, b in matches(one, other, overlap)))
    return max(0.0, total - agreed), total


def flickers(before: FrameObjects, now: FrameObjects, after: FrameObjects) -> tuple[int, int]:
    """Return how many objects are on the frames before and after but not on this one, or here alone; and of how many.

    Objects on this frame alone count only if the frames before and after match: otherwise motion is too fast to tell.
    """
    around = matches(before, after, _SAME_THING)
    with_before, with_after = matches(before, now, _SAME_THING), matches(now, after, _SAME_THING)
    here = {a for a, _ in with_before} | {a for a, b in around if b in {c for _, c in with_after}}
    missing = sum(a not in here for a, _ in around)
    known = {b for _, b in with_before} | {a for a, _ in with_after}
    is_still = len(around) == len(before) == len(after)
    alone = len(now) - len(known) if is_still else 0
    return missing + alone, len(now) + missing


def count_jump(counts: npt.NDArray[np.int64], follows: npt.NDArray[np.bool_], at: int) -> float:
    """Return the relative difference of a frame's object count to the median of up to two frames on each side, 0..1."""
    first = last = at
    while first > 0 and at - first < _AROUND and follows[first]:
        first -= 1
    while last < len(counts) - 1 and last - at < _AROUND and follows[last + 1]:
        last += 1
    near = np.concatenate([counts[first:at], counts[at + 1 : last + 1]])
    usual = float(np.median(near))
    apart = abs(float(counts[at]) - usual)
    return apart / max(float(counts[at]), usual) if apart >= _LEAST_JUMP else 0.0


def matches(one: FrameObjects, other: FrameObjects, overlap: float) -> list[tuple[int, int]]:
    """Return the pairs of objects, as positions in each list, that are the same; one to one, highest overlap first.

    Tracked objects are the same if their track ids are, others if boxes of one category overlap by `overlap` or more.
    """
    if not len(one) or not len(other):
        return []
    shared = box_iou(one.boxes, other.boxes)
    same = np.array([[a == b for b in other.categories] for a in one.categories])
    shared = np.where(same, shared, 0.0)
    for a, track in enumerate(one.tracks):
        for b, theirs in enumerate(other.tracks):
            if track is not None and theirs is not None:
                shared[a, b] = 2.0 if track == theirs and same[a, b] else 0.0
    pairs: list[tuple[int, int]] = []
    taken_one, taken_other = set[int](), set[int]()
    for flat in np.argsort(-shared, axis=None, kind="stable"):
        a, b = divmod(int(flat), len(other))
        if shared[a, b] < overlap:
            break
        if a not in taken_one and b not in taken_other:
            pairs.append((a, b))
            taken_one.add(a)
            taken_other.add(b)
    return pairs


def routed(doubts: pl.DataFrame, reviewed: pl.DataFrame, params: RouteParams) -> pl.DataFrame:
    """Add `uncertainty`, `doubts` and `route` to frames, given their keys, measures and `expected_errors`.

    `uncertainty` is e / (1 + e) for e expected errors. The most uncertain frames go to people, the next ones to the
    language model, those after them to the larger detector, within the budgets; ties are broken by a hash of the keys.
    People get frames with `keep` first, and of each `group_id` of duplicates, and of frames within `params.spread`
    (by `second`, the time of each), the most uncertain one alone; these columns are optional. Frames that people have
    `reviewed`, by key, use no budget, since the decision of a person is final.
    """
    errors = pl.col("expected_errors")
    text = pl.concat_str("stream_id", pl.lit("\x1f"), "frame_idx")
    chances = hash_strings(doubts.select(text).to_series().to_arrow()).view(np.int64)
    scored = doubts.with_columns(uncertainty=errors / (1 + errors), chance=pl.Series(chances, dtype=pl.Int64))
    known = reviewed.select(_KEY).unique().with_columns(is_reviewed=True)
    scored = scored.join(known, on=_KEY, how="left", maintain_order="left").with_columns(
        pl.col("is_reviewed").fill_null(False)
    )
    order = scored.with_row_index("at").sort("uncertainty", "chance", *_KEY, descending=[True, False, False, False])
    open_ = (pl.col("uncertainty") >= params.threshold) & ~pl.col("is_reviewed")
    order = order.with_columns(is_open=open_)
    order = order.with_columns(is_asked=pl.col("at").is_in(_for_people(order, params)))
    place = (pl.col("is_open") & ~pl.col("is_asked")).cum_sum() - 1
    to_larger = params.budget_vlm + params.budget_larger
    people, model, larger, nobody = (pl.lit(name) for name in ("person", "vlm", "larger", "over_budget"))
    to_models = pl.when(place < params.budget_vlm).then(model).when(place < to_larger).then(larger).otherwise(nobody)
    sent = pl.when("is_asked").then(people).otherwise(to_models)
    done = pl.when("is_reviewed").then(pl.lit("reviewed")).otherwise(pl.lit("fine"))
    chosen = order.with_columns(route=pl.when("is_open").then(sent).otherwise(done)).sort("at")
    return chosen.with_columns(doubts=pl.Series(_named(chosen), dtype=pl.List(pl.String))).drop(
        "at", "chance", "is_reviewed", "is_open", "is_asked"
    )


def _for_people(order: pl.DataFrame, params: RouteParams) -> list[int]:
    """Return the numbers `at` of the frames that go to people, given all in order of their uncertainty."""
    open_ = order.filter("is_open")
    if "keep" in open_.columns:
        open_ = open_.sort(~pl.col("keep").fill_null(False), maintain_order=True)
    columns = [open_[name].to_list() if name in open_.columns else [None] * open_.height for name in _NEAR]
    chosen: list[int] = []
    # What people said of a frame, they would say of its duplicates.
    groups = set(order.filter("is_reviewed")[_NEAR[0]].to_list()) if _NEAR[0] in order.columns else set[Any]()
    seconds: dict[str, list[float]] = {}
    for at, stream, group, second in zip(open_["at"].to_list(), open_["stream_id"].to_list(), *columns, strict=True):
        if len(chosen) >= params.budget_person:
            break
        near = seconds.setdefault(stream, [])
        place = bisect(near, second) if second is not None else 0
        is_near = second is not None and any(
            abs(other - second) <= params.spread for other in near[max(0, place - 1) : place + 1]
        )
        if (params.spread and is_near) or (group is not None and group in groups):
            continue
        chosen.append(at)
        groups.add(group)
        if second is not None:
            near.insert(place, second)
    return chosen


def _named(doubts: pl.DataFrame) -> list[list[str]]:
    """Return the names of each frame's measures above zero, the largest first."""
    return [
        [name for name in sorted(DOUBTS, key=lambda name: -row[name]) if row[name] > 0]
        for row in doubts.select(DOUBTS).iter_rows(named=True)
    ]


def _by_frame(objects: pl.DataFrame) -> Mapping[int, FrameObjects]:
    found: dict[int, FrameObjects] = {}
    ordered = objects.sort("frame_idx", "score", "bbox_x", "bbox_y", descending=[False, True, False, False])
    for (number,), rows in ordered.group_by("frame_idx", maintain_order=True):
        boxes = rows.select("bbox_x", "bbox_y", "bbox_w", "bbox_h").to_numpy().astype(np.float64)
        scores: Any = rows["score"].to_numpy().astype(np.float64)
        found[int(str(number))] = FrameObjects(boxes, scores, rows["category"].to_list(), rows["track_id"].to_list())
    return found


REVIEW_COLUMNS = ("stream_id", "frame_idx", "content_hash", "decision")
"""The columns of `reviews` that say which images people have reviewed."""

_PICTURE = (*_KEY, "content_hash")
_ROUTED_COLUMNS = (*_KEY, "uncertainty", "expected_errors", *DOUBTS, "doubts", "route")
_NS_PER_S = 1e9


def reviewed_pictures(reviews: pa.Table, streams: Collection[str]) -> pl.DataFrame:
    """Return which images of some streams people have reviewed, by frame and content, in order."""
    said = pl.DataFrame(reviews)
    seen = said.filter(pl.col("decision") == "seen", pl.col("stream_id").is_in(list(streams)))
    return seen.select(_PICTURE).unique().sort(_PICTURE)


def compute_routing(given: TableInput) -> TableOutput:
    """Return rows of `routing` for all annotated frames of the scopes.

    The streams of a run share its budgets, so that all of them are scored, one after the other.
    """
    params: RouteParams = given.params["route"]
    annotate, second, track = (given.above.get(name) for name in ("annotate", "second", "track"))
    assert annotate is not None
    steps = dict(pl.DataFrame(given.listed("streams", ("stream_id", "step"))).iter_rows())
    columns = ("annotation_id", *OBJECT_COLUMNS)
    scored = []
    for stream in given.streams:
        numbers = annotate.read(("frame_idx",), [stream]).sort_by("frame_idx")
        objects = pl.DataFrame(annotate.read(columns, [stream], table="annotations"))
        others = pl.DataFrame(second.read(columns, [stream], table="annotations")) if second else None
        if track:
            known = pl.DataFrame(track.read(("annotation_id", "track_id"), [stream]))
            objects = objects.drop("track_id").join(known, on="annotation_id", how="left")
        doubts = doubts_of(
            numbers["frame_idx"].to_pylist(),
            steps.get(stream, 1),
            objects,
            others,
            params,
            given.params["annotate"].min_score,
        )
        doubts = doubts.with_columns(stream_id=pl.lit(stream))
        scored.append(_with_neighbours(doubts, given, stream, steps.get(stream, 1)))
    rows = routed(pl.concat(scored, how="diagonal"), _reviewed(given), params).select(_ROUTED_COLUMNS)
    rows = rows.filter(pl.col("stream_id").is_in(list(given.scopes)))
    fields = [schemas.ROUTING.arrow_schema.field(name) for name in _ROUTED_COLUMNS]
    ids = [given.scopes[name] for name in rows["stream_id"].to_list()]
    added = rows.to_arrow().cast(pa.schema(fields)).append_column("input_id", pa.array(ids, pa.int64()))
    return TableOutput(added, rows.height)


def _with_neighbours(doubts: pl.DataFrame, given: TableInput, stream: str, step: int) -> pl.DataFrame:
    """Add `second`, and what curation says of each frame, `keep` and `group_id`, if it was run."""
    times = pl.DataFrame(given.above["frames"].read(("frame_idx", "time_ns"), [stream]))
    seconds = pl.coalesce(pl.col("time_ns") / _NS_PER_S, pl.col("frame_idx") / step)
    doubts = doubts.join(times, on="frame_idx", how="left").with_columns(second=seconds).drop("time_ns")
    for stage, column in (("curation", "keep"), ("duplicates", "group_id")):
        if read := given.above.get(stage):
            known = pl.DataFrame(read.read(("frame_idx", column), [stream]))
            doubts = doubts.join(known, on="frame_idx", how="left")
    return doubts


def _reviewed(given: TableInput) -> pl.DataFrame:
    """Return the keys of the frames that people have reviewed as they are now."""
    seen = reviewed_pictures(given.listed("reviews", REVIEW_COLUMNS), given.streams)
    if not seen.height:
        return seen.select(_KEY)
    among = frozenset(seen["stream_id"].to_list())
    shown = pl.DataFrame(given.above["frames"].read(_PICTURE, among))
    return shown.join(seen, on=_PICTURE, how="semi").select(_KEY)
