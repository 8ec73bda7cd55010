"""Lines of frames as regions: followed over the frames of a scene, and which of them are read.

Two lines are of one track if they look alike and one is where the camera's motion takes the other. Of a track, the best
line of each group of similar ones and of each few frames is read; the others take its reading.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from annotated_types import Ge, Gt, Le

import schemas
from transforms.brands.crops import CORNERS, SKETCH
from transforms.brands.looks import Looks, unit_sketches
from transforms.brands.placement import placements
from transforms.brands.playing_field import unpacked
from transforms.brands.text_lines import FloatArray
from transforms.core.boxes import box_iou
from transforms.core.table_stage import TableInput, TableOutput

_RECENT = 512
_SIZES = float(np.log(1.5))


@dataclass(frozen=True)
class RegionParams:
    """When lines of several frames are one thing, and which of them are read.

    `alike`: least correlation of two looks of one thing.
    `reach`: farthest that a line may be from where it is expected, as a share of the frame's width.
    `motion`: farthest that the camera may move between two frames, as a share of the frame's width.
    `gap`: frames for which it may be out of sight.
    `min_frames`: frames on which it is seen at least; what is seen on fewer is not read.
    `min_height`: height of letters in pixels from which on it is read.
    `min_score`: lowest score of a line that is read.
    `same`: least correlation of looks that share a reading.
    `few`: frames that share a reading although their look departs from that of the first one.
    `other`: correlation of two looks below which they are of something else.
    `every`: frames after which a thing is read once more.
    `kit`: categories of the detector, where one ran, that wear kits: what is on them is placed there.
    `again`: least correlation of looks on several tracks that share a reading, as of a sign that comes back.
    """

    alike: Annotated[float, Ge(-1), Le(1)] = 0.55
    reach: Annotated[float, Gt(0), Le(1)] = 0.06
    motion: Annotated[float, Ge(0), Le(1)] = 0.35
    gap: Annotated[int, Ge(0), Le(1000)] = 2
    min_frames: Annotated[int, Ge(1), Le(1000)] = 2
    min_height: Annotated[float, Ge(0)] = 12.0
    min_score: Annotated[float, Ge(0), Le(1)] = 0.3
    same: Annotated[float, Ge(-1), Le(1)] = 0.8
    few: Annotated[int, Ge(1), Le(1000)] = 4
    other: Annotated[float, Ge(-1), Le(1)] = 0.2
    every: Annotated[int, Ge(1), Le(10000)] = 8
    again: Annotated[float, Ge(-1), Le(1)] = 0.97
    kit: tuple[str, ...] = ("person", "shirt")


def follow_lines(looks: Looks, params: RegionParams) -> npt.NDArray[np.int64]:
    """Return the number of the track of each line, shape (N,); a track ends with its scene.

    The motion of the camera between two frames is that on which most similar lines agree.
    """
    n = len(looks.frame_idx)
    tracks = np.full(n, -1, np.int64)
    middles = looks.quads.mean(axis=1)
    begins = np.searchsorted(looks.position, np.unique(looks.position))
    ends = np.append(begins[1:], n)
    live: list[int] = []
    number = 0
    for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
        here = np.arange(begin, end)
        position, scene = looks.position[begin], looks.scene[begin]
        live = [at for at in live if looks.scene[at] == scene and position - looks.position[at] <= params.gap + 1]
        if live:
            before = np.array(live)
            like = looks.sketches[here] @ looks.sketches[before].T
            ratio = looks.heights[here][:, None] / np.maximum(1.0, looks.heights[before][None])
            like[(ratio < 0.6) | (ratio > 1.67)] = -1
            like[looks.kind[here][:, None] != looks.kind[before][None]] = -1
            shift = middles[here][:, None] - middles[before][None]
            width = float(looks.size[begin, 0])
            moved = _motion(shift, like, params, width)
            # Of a line that slides, or is covered in part, the look changes but not the place.
            common = _common(looks.quads[here], looks.quads[before] + moved)
            like = np.where((common >= 0.5) & (like > -1), np.maximum(like, params.alike + 0.2 * common), like)
            off = np.minimum(np.linalg.norm(shift - moved, axis=2), np.linalg.norm(shift, axis=2) * 1.5)
            like = np.where(off <= params.reach * width, like - off / width, -1)
            for one, other in _pairs(like, params.alike):
                tracks[here[one]] = tracks[before[other]]
                live.remove(int(before[other]))
        for at in here:
            if tracks[at] < 0:
                tracks[at] = number
                number += 1
            live.append(int(at))
    return tracks


def _common(one: FloatArray, other: FloatArray) -> FloatArray:
    """Return the intersection over union of the upright boxes around quadrilaterals, shape (N, M)."""
    edges = [np.concatenate([quads.min(axis=1), np.ptp(quads, axis=1)], axis=1) for quads in (one, other)]
    return box_iou(edges[0].astype(np.float64), edges[1].astype(np.float64)).astype(np.float32)


def _motion(
    shift: npt.NDArray[np.float32], like: npt.NDArray[np.float32], params: RegionParams, width: float
) -> npt.NDArray[np.float32]:
    """Return the shift in pixels, (2,), on which most pairs of similar lines agree; none where fewer than two do."""
    near = (like >= max(0.7, params.alike)) & (np.linalg.norm(shift, axis=2) <= params.motion * width)
    found = shift[near]
    if not len(found):
        return np.zeros(2, np.float32)
    apart = np.linalg.norm(found[:, None] - found[None], axis=2) <= params.reach * width / 2
    votes = apart.sum(axis=1)
    best = int(np.argmax(votes))
    if votes[best] < 2:
        return np.zeros(2, np.float32)
    return np.asarray(np.median(found[apart[best]], axis=0), np.float32)


def _pairs(like: npt.NDArray[np.float32], least: float) -> list[tuple[int, int]]:
    """Return pairs of rows and columns, the most alike first, none twice."""
    found, rows, columns = [], set(), set()
    order = np.argsort(-like, axis=None, kind="stable")
    for place in order.tolist():
        row, column = divmod(place, like.shape[1])
        if like[row, column] < least:
            break
        if row not in rows and column not in columns:
            found.append((row, column))
            rows.add(row)
            columns.add(column)
    return found


def choose_read(looks: Looks, tracks: npt.NDArray[np.int64], params: RegionParams) -> npt.NDArray[np.int64]:
    """Return for each line the line whose reading counts for it, shape (N,), -1 where nothing is read."""
    counts_for = np.full(len(tracks), -1, np.int64)
    # Larger and sharper ones are read better; what touches the edge of the frame lacks letters.
    inside = ((looks.quads > 3) & (looks.quads < looks.size[:, None] - 3)).all(axis=(1, 2))
    quality = np.minimum(looks.heights, 40) * np.log1p(looks.sharpness) * (0.5 + 0.5 * inside)
    order = np.argsort(tracks, kind="stable")
    edges = np.flatnonzero(np.diff(tracks[order])) + 1
    # Emblems are chosen by their score where they are found.
    good = (looks.heights >= params.min_height) & ((looks.score >= params.min_score) | (looks.kind == "emblem"))
    for track in np.split(order, edges):
        members = track[good[track]]
        if len(members) < params.min_frames:
            continue
        for part in _segments(looks.sketches[members], params):
            some = members[part]
            counts_for[some] = some[int(np.argmax(quality[some]))]
    return _read_once(looks, counts_for, quality, params)


def _read_once(
    looks: Looks, counts_for: npt.NDArray[np.int64], quality: npt.NDArray[np.floating[Any]], params: RegionParams
) -> npt.NDArray[np.int64]:
    """Return `counts_for` with one reading for lines that look the same: the best one of them.

    Each is compared with the last ones before it, so that the effort grows with the length of the stream alone.
    """
    instead = np.arange(len(counts_for))
    lines = np.unique(counts_for[(counts_for >= 0)])
    lines = lines[looks.kind[lines] == "line"]
    leaders: list[int] = []
    members: dict[int, list[int]] = {}
    for at in lines.tolist():
        recent = np.array(leaders[-_RECENT:], np.int64)
        if len(recent):
            like = looks.sketches[recent] @ looks.sketches[at]
            like[np.abs(np.log(looks.heights[recent] / max(1.0, float(looks.heights[at])))) > _SIZES] = -1
            best = int(np.argmax(like))
            if like[best] >= params.again:
                members[int(recent[best])].append(at)
                continue
        leaders.append(at)
        members[at] = [at]
    for same in members.values():
        instead[same] = same[int(np.argmax(quality[same]))]
    return np.where(counts_for >= 0, instead[np.maximum(counts_for, 0)], -1)


def _segments(sketches: FloatArray, params: RegionParams) -> list[npt.NDArray[np.int64]]:
    """Divide the lines of a track, in order, where their look is no longer that of the first one of a segment.

    A look that only departs, as of text that slides, begins a new segment after `few` lines; another one does at once.
    """
    begins = [0]
    for at in range(1, len(sketches)):
        n = at - begins[-1]
        like = float(sketches[begins[-1]] @ sketches[at])
        if like < params.other or n >= params.every or (like < params.same and n >= params.few):
            begins.append(at)
    return np.split(np.arange(len(sketches)), begins[1:])


def compute_regions(given: TableInput) -> TableOutput:
    """Return rows of `regions`."""
    params: RegionParams = given.params["regions"]
    tables = [schemas.REGIONS.file_schema.empty_table()]
    n_frames = 0
    for stream, input_id in given.scopes.items():
        frames = _frames_of(given, stream)
        n_frames += frames.height
        looks = _looks(frames)
        if looks is None:
            continue
        given.check()
        tracks = follow_lines(looks, params)
        counts_for = choose_read(looks, tracks, params)
        masks = {row["frame_idx"]: unpacked(row["mask"]) for row in frames.iter_rows(named=True) if row["mask"]}
        placed = placements(looks, tracks, masks, _bodies(given, stream, params))
        tables.append(_rows(stream, input_id, looks, tracks, counts_for, placed))
    return TableOutput(pa.concat_tables(tables), n_frames)


def _bodies(given: TableInput, stream: str, params: RegionParams) -> dict[int, FloatArray]:
    """Return the boxes of wearers of kits on each frame, (N, 4): x, y, width, height; none without a detector."""
    if "annotate" not in given.above:
        return {}
    columns = ("frame_idx", "category", "bbox_x", "bbox_y", "bbox_w", "bbox_h")
    rows = pl.DataFrame(given.above["annotate"].read(columns, [stream], table="annotations"))
    worn = rows.filter(pl.col("category").is_in(list(params.kit)))
    return {
        int(number): each.select(columns[2:]).to_numpy().astype(np.float32)
        for (number,), each in worn.group_by(["frame_idx"])
    }


def _frames_of(given: TableInput, stream: str) -> pl.DataFrame:
    """Return the frames of a stream in order, with size, scene, field and lines."""
    shown = pl.DataFrame(given.above["frames"].read(("frame_idx", "width", "height"), [stream]))
    lines = pl.DataFrame(given.above["edges"].read(("frame_idx", "lines"), [stream]))
    fields = pl.DataFrame(given.above["field"].read(("frame_idx", "mask"), [stream]))
    scenes = pl.DataFrame(given.above["scenes"].read(("scene_idx", "start_idx"), [stream])).sort("start_idx")
    frames = shown.join(lines, on="frame_idx").join(fields, on="frame_idx", how="left").sort("frame_idx")
    return frames.join_asof(scenes, left_on="frame_idx", right_on="start_idx").with_columns(
        pl.col("scene_idx").fill_null(0)
    )


def _looks(frames: pl.DataFrame) -> Looks | None:
    lines = frames.with_row_index("position").drop("mask").filter(pl.col("lines").list.len() > 0)
    if not lines.height:
        return None
    each = lines.explode("lines").unnest("lines")
    corners = each.select(CORNERS).to_numpy().astype(np.float32).reshape(-1, 4, 2)
    sketches = np.frombuffer(b"".join(each["sketch"].to_list()), np.uint8).reshape(-1, SKETCH[0] * SKETCH[1])
    return Looks(
        each["frame_idx"].to_numpy(),
        each["position"].to_numpy().astype(np.int64),
        each["scene_idx"].to_numpy(),
        corners,
        unit_sketches(sketches),
        each.select("width", "height").to_numpy().astype(np.float32),
        each["score"].to_numpy(),
        each["sharpness"].to_numpy(),
        each["contrast"].to_numpy(),
        each["kind"].to_numpy().astype(np.str_),
    )


def _rows(
    stream: str,
    input_id: int,
    looks: Looks,
    tracks: npt.NDArray[np.int64],
    counts_for: npt.NDArray[np.int64],
    placement: npt.NDArray[np.str_],
) -> pa.Table:
    begins = np.searchsorted(looks.frame_idx, looks.frame_idx)
    ids = [f"{stream}:{frame}:{at}" for frame, at in zip(looks.frame_idx, np.arange(len(begins)) - begins, strict=True)]
    flat = looks.quads.reshape(-1, 8)
    area = np.array([_area(quad) for quad in looks.quads], np.float32) / looks.size.prod(axis=1)
    columns: dict[str, Any] = {
        "input_id": np.full(len(ids), input_id, np.int64),
        "region_id": ids,
        "stream_id": [stream] * len(ids),
        "frame_idx": looks.frame_idx,
        "track_id": tracks,
        "scene_idx": looks.scene,
        "kind": looks.kind.tolist(),
        "placement": placement.tolist(),
        **{name: flat[:, at] for at, name in enumerate(CORNERS)},
        "height_px": looks.heights,
        "area_share": np.clip(area, 0, 1).astype(np.float32),
        "sharpness": looks.sharpness,
        "contrast": looks.contrast,
        "score": looks.score,
        "read_as": [ids[at] if at >= 0 else None for at in counts_for.tolist()],
        "is_read": counts_for == np.arange(len(ids)),
    }
    return pa.table(columns).select(schemas.REGIONS.file_schema.names).cast(schemas.REGIONS.file_schema)


def _area(quad: FloatArray) -> float:
    x, y = quad[:, 0], quad[:, 1]
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2
