"""Mentions along the tracks of regions: the rows of `appearances`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import polars as pl
import pyarrow as pa
from annotated_types import Ge, Gt, Le

import schemas
from transforms.brands.crops import CORNERS
from transforms.core.table_stage import TableInput, TableOutput

_NINTH = (1 / 3, 2 / 3)
_ANSWERED = 0.9
"""Score of a brand that a model has named."""

_NEAR = 1.0
"""Of their height: how far the middles of two regions are apart that show the same logo."""


@dataclass(frozen=True)
class VoteParams:
    """When mentions make an appearance.

    `gap`: frames between two mentions of a brand for which it counts as visible, where nothing else was read there.
    `min_height`: height of letters in pixels from which on a brand counts as visible.
    `min_frames`: frames on which it is seen at least.
    `min_score`: least confidence of an appearance that is resolved.
    `fps`: frames per second of streams whose frames have no time.
    """

    gap: Annotated[int, Ge(0), Le(1000)] = 2
    min_height: Annotated[float, Ge(0)] = 14.0
    min_frames: Annotated[int, Ge(1), Le(1000)] = 1
    min_score: Annotated[float, Ge(0), Le(1)] = 0.5
    fps: Annotated[float, Gt(0)] = 25.0


def frame_seconds(frames: pl.DataFrame, fps: float) -> dict[int, tuple[float, float]]:
    """Return for each frame its time and that of the next one in seconds, by frame number.

    `frames` has `frame_idx`, `time_ns` (in the clip) and `t_ns` (since 1970, counted from the first one). Where frames
    have no time, it follows from their number. The last frame lasts as long as the median one.
    """
    ordered = frames.sort("frame_idx")
    numbers = ordered["frame_idx"].to_numpy()
    if not len(numbers):
        return {}
    if ordered["time_ns"].null_count() == 0:
        seconds = ordered["time_ns"].to_numpy() / 1e9
    elif ordered["t_ns"].null_count() == 0:
        seconds = (ordered["t_ns"].to_numpy() - int(ordered["t_ns"].to_numpy()[0])) / 1e9
    else:
        seconds = numbers / fps
    usual = float(np.median(np.diff(seconds))) if len(seconds) > 1 else 1 / fps
    after = np.append(seconds[1:], seconds[-1] + usual)
    # Across a gap nothing is known to be visible.
    after = np.minimum(after, seconds + max(2 * usual, 1e-9))
    return {int(n): (float(s), float(a)) for n, s, a in zip(numbers, seconds, after, strict=True)}


def appearances(
    regions: pl.DataFrame, mentions: pl.DataFrame, seconds: Mapping[int, tuple[float, float]], params: VoteParams
) -> list[dict[str, Any]]:
    """Return the appearances of one stream, as rows without `stream_id`, `input_id` and their number.

    `regions` has the columns of `regions` with `width` and `height` of their frame; `mentions` those of `mentions`.
    """
    said: dict[str, list[dict[str, Any]]] = {}
    for row in mentions.iter_rows(named=True):
        said.setdefault(row["region_id"], []).append(row)
    order = {number: place for place, number in enumerate(sorted(seconds))}
    found: list[dict[str, Any]] = []
    read = regions.filter(pl.col("read_as").is_not_null())
    ordered = read.sort("track_id", "frame_idx")
    again = _shown_twice(ordered.to_dicts(), said)
    for track in ordered.partition_by("track_id", maintain_order=True):
        rows = track.to_dicts()
        for brand in _candidates(rows, said):
            own = [row for row in rows if (row["region_id"], brand) not in again]
            for run in _runs(brand, own, said, order, params):
                found += _appearance(brand, run, seconds, params)
    return sorted(found, key=lambda row: (row["start_s"], row["brand"], row["track_id"]))


def _shown_twice(
    rows: Sequence[dict[str, Any]], said: Mapping[str, list[dict[str, Any]]]
) -> frozenset[tuple[str, str]]:
    """Return the regions, each with a brand, that show a logo which another region of the frame shows as well.

    Where a logo ends is not known before it is recognized, so that several regions may have it; of these, that of the
    track with it on most frames counts.
    """
    showing = [
        (m["brand"], row) for row in rows for m in said.get(row["read_as"], ()) if m["how"] == "logo" and m["brand"]
    ]
    n_frames = Counter((brand, row["track_id"]) for brand, row in showing)
    kept: dict[tuple[str, int], list[dict[str, Any]]] = {}
    again: set[tuple[str, str]] = set()
    for brand, row in sorted(showing, key=lambda each: (-n_frames[each[0], each[1]["track_id"]], each[1]["track_id"])):
        others = kept.setdefault((brand, row["frame_idx"]), [])
        if any(_is_near(row, other) for other in others):
            again.add((row["region_id"], brand))
        else:
            others.append(row)
    return frozenset(again)


def _is_near(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    apart = [sum(one[name] - other[name] for name in CORNERS[axis::2]) / 4 for axis in (0, 1)]
    return float(np.hypot(*apart)) < _NEAR * max(one["height_px"], other["height_px"])


def _candidates(rows: Sequence[dict[str, Any]], said: Mapping[str, list[dict[str, Any]]]) -> list[str]:
    named = {m["brand"] for row in rows for m in said.get(row["read_as"], ()) if m["brand"] is not None}
    return sorted(named)


def _runs(
    brand: str,
    rows: Sequence[dict[str, Any]],
    said: Mapping[str, list[dict[str, Any]]],
    order: Mapping[int, int],
    params: VoteParams,
) -> Iterator[list[tuple[dict[str, Any], dict[str, Any] | None]]]:
    """Yield the runs of frames of a track on which a brand is visible, each frame with its mention of it."""
    rivals = [m for row in rows for m in said.get(row["read_as"], ()) if m["brand"] is None and m["runner_up"] == brand]
    whole = [
        m for row in rows for m in said.get(row["read_as"], ()) if m["brand"] == brand and m["how"] in {"name", "logo"}
    ]
    # A track on which another name was read clearly is not of the brand that this is nearly, unless that was as well.
    if rivals and sum(m["score"] for m in rivals) > sum(m["score"] for m in whole):
        return
    run: list[tuple[dict[str, Any], dict[str, Any] | None]] = []
    waiting: list[tuple[dict[str, Any], dict[str, Any] | None]] = []
    for row in rows:
        mine = [
            m
            for m in said.get(row["read_as"], ())
            if m["brand"] == brand and row["height_px"] * m["tall"] >= params.min_height
        ]
        if not mine:
            if run:
                waiting.append((row, None))
            continue
        if run and _missed(run[-1][0], row, order) > params.gap:
            yield run
            run, waiting = [], []
        # What was read in between is this brand too, if it is no other one.
        run += [each for each in waiting if not _is_other(each[0], brand, said)]
        waiting = []
        run.append((row, max(mine, key=lambda m: float(m["score"]))))
    if run:
        yield run


def _missed(last: Mapping[str, Any], row: Mapping[str, Any], order: Mapping[int, int]) -> int:
    return order[row["frame_idx"]] - order[last["frame_idx"]] - 1


def _is_other(row: Mapping[str, Any], brand: str, said: Mapping[str, list[dict[str, Any]]]) -> bool:
    return any(m["brand"] not in {None, brand} or m["how"] == "never" for m in said.get(row["read_as"], ()))


def _appearance(
    brand: str,
    run: Sequence[tuple[dict[str, Any], dict[str, Any] | None]],
    seconds: Mapping[int, tuple[float, float]],
    params: VoteParams,
) -> list[dict[str, Any]]:
    rows = [row for row, _ in run]
    known = [(row, mention) for row, mention in run if mention is not None]
    if len(rows) < params.min_frames:
        return []
    weights = np.array([row["height_px"] * np.log1p(row["sharpness"]) + 1e-6 for row, _ in known])
    scores = np.array([mention["score"] for _, mention in known])
    confidence = float(np.clip((weights * scores).sum() / weights.sum(), 0, 1))
    best, said_best = known[int(np.argmax(weights * scores))]
    is_sure = any(mention["state"] == "resolved" for _, mention in known) and confidence >= params.min_score
    lasts = np.array([seconds[row["frame_idx"]][1] - seconds[row["frame_idx"]][0] for row in rows])
    lasts = np.maximum(lasts, 1e-9)
    shares = np.array([_part(row, mention or said_best) for row, mention in run])

    def mean(values: Sequence[float] | np.ndarray[Any, Any]) -> float:
        return float((np.asarray(values, np.float64) * lasts).sum() / lasts.sum())

    return [
        {
            "brand": brand,
            "region_id": best["region_id"],
            "track_id": best["track_id"],
            "scene_idx": best["scene_idx"],
            "placement": best["placement"],
            "start_s": seconds[rows[0]["frame_idx"]][0],
            "end_s": seconds[rows[-1]["frame_idx"]][1],
            "start_idx": rows[0]["frame_idx"],
            "end_idx": rows[-1]["frame_idx"],
            "n_frames": len(rows),
            "best_idx": best["frame_idx"],
            "confidence": confidence,
            "state": "resolved" if is_sure else "unresolved",
            "how": said_best["how"],
            "text": said_best["text"],
            "mean_share": mean(shares),
            "max_share": float(shares.max()),
            "height_px": mean([row["height_px"] * (mention or said_best)["tall"] for row, mention in run]),
            "centre": mean([_is_central(row) for row in rows]),
            "sharpness": mean([row["sharpness"] for row in rows]),
        }
    ]


def _part(row: Mapping[str, Any], mention: Mapping[str, Any]) -> float:
    """Return the share of the frame that a brand covers in a region that names it: its letters, or its logo."""
    return float(np.clip(row["area_share"] * mention["part"], 0, 1))


def _is_central(row: Mapping[str, Any]) -> float:
    x = sum(row[name] for name in CORNERS[0::2]) / 4 / max(1, row["width"])
    y = sum(row[name] for name in CORNERS[1::2]) / 4 / max(1, row["height"])
    return float(_NINTH[0] <= x < _NINTH[1] and _NINTH[0] <= y < _NINTH[1])


def with_answers(mentions: pl.DataFrame, answers: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return mentions of which those that were unresolved are what a model says of their crop, where it is sure.

    `answers` have the columns `region_id`, `state` and `brand`, the first ones first; a null brand is no brand.
    """
    known: dict[str, str | None] = {}
    for each in reversed(answers):
        known |= dict(each.filter(state="answered").select("region_id", "brand").iter_rows())
    said = [
        row
        | {"brand": known[row["region_id"]], "how": "vlm", "score": _ANSWERED}
        | {"state": "resolved" if known[row["region_id"]] else "none", "runner_up": None}
        if row["state"] == "unresolved" and row["region_id"] in known
        else row
        for row in mentions.to_dicts()
    ]
    return pl.DataFrame(said, schema=mentions.schema)


def _answers(given: TableInput, stage: str, stream: str) -> pl.DataFrame:
    rows = pl.DataFrame(given.above[stage].read(("answers",), [stream]))
    return rows.explode("answers").unnest("answers").select("region_id", "state", "brand")


def compute_appearances(given: TableInput) -> TableOutput:
    """Return rows of `appearances`."""
    params: VoteParams = given.params["vote"]
    tables = [schemas.APPEARANCES.file_schema.empty_table()]
    n_frames = 0
    for stream, input_id in given.scopes.items():
        columns = ("frame_idx", "time_ns", "t_ns", "width", "height")
        frames = pl.DataFrame(given.above["frames"].read(columns, [stream]))
        regions = pl.DataFrame(given.above["regions"].read(None, [stream]))
        mentions = pl.DataFrame(given.above["match"].read(None, [stream]))
        asked = [stage for stage in ("ask_local", "ask_cloud") if stage in given.above]
        mentions = with_answers(mentions, [_answers(given, stage, stream) for stage in asked])
        n_frames += frames.height
        sized = regions.join(frames.select("frame_idx", "width", "height"), on="frame_idx")
        rows = appearances(sized, mentions, frame_seconds(frames, params.fps), params)
        keys = {"input_id": input_id, "stream_id": stream}
        numbered = [{**keys, "appearance_id": number, **row} for number, row in enumerate(rows)]
        tables.append(pa.Table.from_pylist(numbered, schemas.APPEARANCES.file_schema))
    return TableOutput(pa.concat_tables(tables), n_frames)
