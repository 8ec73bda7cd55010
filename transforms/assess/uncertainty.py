"""Uncertainty of detections per frame, and assignment of the most uncertain frames to reviewers."""

from __future__ import annotations

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
_SAME_THING = 0.3
_LEAST_JUMP = 2
_AROUND = 2


@dataclass(frozen=True)
class RouteParams:
    """What makes a frame uncertain, and how many frames a run may send to each reviewer.

    `margin`: a score within this distance above `annotate.min_score` is uncertain, the more so the nearer it is.
    `overlap`: two detectors agree on an object if their boxes of one category have at least this intersection over
    union.
    `second`: weights of a second detector, which is only used for the comparison; none for no second detector.
    `second_detector`: what runs them; none for the same as `annotate.detector`.
    `threshold`: frames whose uncertainty is below it need no review.
    `budget_person`: the most frames in the review queue at a time: the most uncertain ones that no person has reviewed.
    `budget_vlm`: how many of the next most uncertain the stage `escalate` sends to a vision language model.
    `budget_larger`: how many of those after them the stage `larger` sends to a larger detector.
    `larger`: weights of that detector; none for no larger detector.
    `larger_detector`: what runs them; none for the same as `annotate.detector`.
    """

    margin: Annotated[float, Gt(0), Le(1)] = 0.15
    overlap: Annotated[float, Gt(0), Le(1)] = 0.5
    second: str | None = None
    second_detector: str | None = None
    threshold: Annotated[float, Gt(0), Le(1)] = 0.5
    budget_person: Annotated[int, Ge(0)] = 100
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
    """Return the uncertainty measures `DOUBTS` of each frame of a stream, 0..1, and `frame_idx`, in frame order.

    `objects` and `others`, those of a second detector, have the `OBJECT_COLUMNS`. Frames are consecutive if their
    numbers differ by at most `step`; the temporal measures (`flicker`, `count_jump`) need both neighbours and are 0
    without.
    """
    found, theirs = _by_frame(objects), _by_frame(others) if others is not None else None
    rows = [found.get(number, NO_OBJECTS) for number in frames]
    follows = np.diff(np.asarray(frames, np.int64), prepend=np.iinfo(np.int32).min) <= step
    counts = np.array([len(row) for row in rows], np.int64)
    columns: dict[str, list[float]] = {name: [] for name in DOUBTS}
    for at, (number, mine) in enumerate(zip(frames, rows, strict=True)):
        inside = 0 < at < len(rows) - 1 and follows[at] and follows[at + 1]
        columns["low_margin"].append(low_margin(mine.scores, min_score, params.margin))
        columns["disagreement"].append(
            0.0 if theirs is None else disagreement(mine, theirs.get(number, NO_OBJECTS), params.overlap)
        )
        columns["flicker"].append(flicker(rows[at - 1], mine, rows[at + 1]) if inside else 0.0)
        columns["count_jump"].append(count_jump(counts, follows, at) if inside else 0.0)
    numbers = {"frame_idx": pl.Series(list(frames), dtype=pl.Int64)}
    return pl.DataFrame(numbers | {name: pl.Series(values, dtype=pl.Float64) for name, values in columns.items()})


def low_margin(scores: FloatArray, min_score: float, margin: float) -> float:
    """Return 1 if the lowest score is at the threshold, 0 if it is `margin` or more above it, or without objects."""
    return float(np.clip(1 - (scores.min() - min_score) / margin, 0, 1)) if len(scores) else 0.0


def disagreement(one: FrameObjects, other: FrameObjects, overlap: float) -> float:
    """Return the share of two detectors' objects, weighted by score, that only one of them found; 0 without objects."""
    total = one.scores.sum() + other.scores.sum()
    pairs = matches(one, other, overlap)
    agreed = sum(one.scores[a] + other.scores[b] for a, b in pairs)
    return float(np.clip(1 - agreed / total, 0, 1)) if total > 0 else 0.0


def flicker(before: FrameObjects, now: FrameObjects, after: FrameObjects) -> float:
    """Return the share of objects that are on the frames before and after but not on this one, or on this one alone.

    Objects on this frame alone count only if the frames before and after match: otherwise motion is too fast to tell.
    """
    around = matches(before, after, _SAME_THING)
    with_before, with_after = matches(before, now, _SAME_THING), matches(now, after, _SAME_THING)
    here = {a for a, _ in with_before} | {a for a, b in around if b in {c for _, c in with_after}}
    missing = sum(a not in here for a, _ in around)
    known = {b for _, b in with_before} | {a for a, _ in with_after}
    is_still = len(around) == len(before) == len(after)
    alone = len(now) - len(known) if is_still else 0
    total = len(now) + missing
    return (missing + alone) / total if total else 0.0


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
    """Add `uncertainty`, `doubts` and `route` to frames, given their keys and uncertainty measures.

    The most uncertain frames go to people, the next ones to the language model, those after them to the larger
    detector, within the budgets; ties are broken by a hash of the keys. Frames that people have `reviewed`, by key, use
    no budget, since the decision of a person is final.
    """
    left = pl.lit(1.0)
    for name in DOUBTS:
        left = left * (1 - pl.col(name))
    text = pl.concat_str("stream_id", pl.lit("\x1f"), "frame_idx")
    chances = hash_strings(doubts.select(text).to_series().to_arrow()).view(np.int64)
    scored = doubts.with_columns(uncertainty=(1 - left).clip(0, 1), chance=pl.Series(chances, dtype=pl.Int64))
    known = reviewed.select(_KEY).unique().with_columns(is_reviewed=True)
    scored = scored.join(known, on=_KEY, how="left", maintain_order="left").with_columns(
        pl.col("is_reviewed").fill_null(False)
    )
    order = scored.with_row_index("at").sort("uncertainty", "chance", *_KEY, descending=[True, False, False, False])
    open_ = (pl.col("uncertainty") >= params.threshold) & ~pl.col("is_reviewed")
    place = open_.cum_sum() - 1
    to_people, to_model = params.budget_person, params.budget_person + params.budget_vlm
    to_larger = to_model + params.budget_larger
    people, model, larger, nobody = (pl.lit(name) for name in ("person", "vlm", "larger", "over_budget"))
    to_models = pl.when(place < to_model).then(model).when(place < to_larger).then(larger).otherwise(nobody)
    sent = pl.when(place < to_people).then(people).otherwise(to_models)
    done = pl.when("is_reviewed").then(pl.lit("reviewed")).otherwise(pl.lit("fine"))
    chosen = order.with_columns(route=pl.when(open_).then(sent).otherwise(done)).sort("at")
    return chosen.with_columns(doubts=pl.Series(_named(chosen), dtype=pl.List(pl.String))).drop(
        "at", "chance", "is_reviewed"
    )


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
_ROUTED_COLUMNS = (*_KEY, "uncertainty", *DOUBTS, "doubts", "route")


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
        scored.append(doubts.with_columns(stream_id=pl.lit(stream)))
    rows = routed(pl.concat(scored), _reviewed(given), params).select(_ROUTED_COLUMNS)
    rows = rows.filter(pl.col("stream_id").is_in(list(given.scopes)))
    fields = [schemas.ROUTING.arrow_schema.field(name) for name in _ROUTED_COLUMNS]
    ids = [given.scopes[name] for name in rows["stream_id"].to_list()]
    added = rows.to_arrow().cast(pa.schema(fields)).append_column("input_id", pa.array(ids, pa.int64()))
    return TableOutput(added, rows.height)


def _reviewed(given: TableInput) -> pl.DataFrame:
    """Return the keys of the frames that people have reviewed as they are now."""
    seen = reviewed_pictures(given.listed("reviews", REVIEW_COLUMNS), given.streams)
    if not seen.height:
        return seen.select(_KEY)
    among = frozenset(seen["stream_id"].to_list())
    shown = pl.DataFrame(given.above["frames"].read(_PICTURE, among))
    return shown.join(seen, on=_PICTURE, how="semi").select(_KEY)
