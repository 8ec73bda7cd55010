"""Lines of frames as regions: followed over the frames of a scene, and which of them are read.

Two lines are of one track if they look alike and one is where the camera's motion takes the other. Of a track, the best
line of each group of similar ones and of each few frames is read; the others take its reading.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from annotated_types import Ge, Gt, Le

import schemas
from transforms.brands.crops import CORNERS, SKETCH, sides
from transforms.brands.playing_field import CELLS, unpacked
from transforms.brands.text_lines import FloatArray
from transforms.core.boxes import box_iou
from transforms.core.table_stage import TableInput, TableOutput

_STILL = 0.004
"""Of the frame's width: how far a graphic is away from where it was."""

_LIKE = 0.7
"""Least correlation of the looks of a graphic in two scenes."""

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


@dataclass
class Looks:
    """Lines of one stream, in the order of frames: frame number, scene, corners (N, 4, 2), sketches (N, D), and more.

    Sketches have mean 0 and length 1. `size` is the width and height of each one's frame in pixels.
    """

    frame_idx: npt.NDArray[np.int64]
    position: npt.NDArray[np.int64]
    scene: npt.NDArray[np.int64]
    quads: FloatArray
    sketches: FloatArray
    size: FloatArray
    score: FloatArray
    sharpness: FloatArray
    contrast: FloatArray
    kind: npt.NDArray[np.str_]
    heights: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        self.heights = np.array([sides(quad)[1] for quad in self.quads], np.float32)


def unit_sketches(sketches: npt.NDArray[np.uint8]) -> FloatArray:
    """Return sketches, (N, D) uint8, with mean 0 and length 1; those without content are zeros."""
    values = sketches.astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return np.divide(values, length, out=np.zeros_like(values), where=length > 1e-3).astype(np.float32)


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


def placements(
    looks: Looks, tracks: npt.NDArray[np.int64], fields: Mapping[int, npt.NDArray[np.bool_]]
) -> npt.NDArray[np.str_]:
    """Return where each line is, shape (N,): the same for all of a track.

    `graphic`: it stays where it is although other things move, or over scenes. `ground`: the field is all around it.
    `board`: the field is below it. `other`: neither, as a sponsor on a shirt in front of the crowd is.
    """
    found = np.full(len(tracks), "other", dtype="<U8")
    numbers = np.unique(tracks)
    of_track = [np.flatnonzero(tracks == number) for number in numbers]
    graphic = _graphics(looks, of_track)
    for members, is_graphic in zip(of_track, graphic, strict=True):
        if is_graphic:
            found[members] = "graphic"
            continue
        votes = [_by_field(looks.quads[at], looks.size[at], fields.get(int(looks.frame_idx[at]))) for at in members]
        names, counts = np.unique(votes, return_counts=True)
        found[members] = names[int(np.argmax(counts))]
    return found


def _graphics(looks: Looks, of_track: Sequence[npt.NDArray[np.int64]]) -> list[bool]:
    """Return which tracks, each given by its lines, stay in a place where other scenes have the same look."""
    width = np.maximum(1.0, looks.size[:, :1])
    middles = looks.quads.mean(axis=1) / width
    scenes = len(np.unique(looks.scene))
    places = np.array([np.median(middles[members], axis=0) for members in of_track]).reshape(-1, 2)
    still = np.array([float(np.abs(middles[m] - p).mean()) <= _STILL for m, p in zip(of_track, places, strict=True)])
    first = np.array([members[len(members) // 2] for members in of_track], np.int64)
    found = []
    for at in range(len(of_track)):
        near = still & (np.abs(places - places[at]).max(axis=1) <= 2 * _STILL)
        near[near] = looks.sketches[first[near]] @ looks.sketches[first[at]] >= _LIKE
        seen_in = {int(looks.scene[line]) for line in first[near]}
        found.append(bool(still[at]) and len(seen_in) >= min(3, max(2, scenes)))
    return found


def _by_field(quad: FloatArray, size: FloatArray, mask: npt.NDArray[np.bool_] | None) -> str:
    if mask is None or not mask.any():
        return "other"
    cell = size / np.array(CELLS[::-1], np.float32)
    low, high = quad.min(axis=0), quad.max(axis=0)
    tall = high[1] - low[1]

    def share(top: float, bottom: float) -> float:
        rows = slice(max(0, int(top / cell[1])), max(0, int(bottom / cell[1]) + 1))
        columns = slice(max(0, int(low[0] / cell[0])), max(0, int(high[0] / cell[0]) + 1))
        part = mask[rows, columns]
        return float(part.mean()) if part.size else 0.0

    below, above = share(high[1] + 0.5 * tall, high[1] + 3 * tall), share(low[1] - 3 * tall, low[1] - tall)
    if below > 0.4:
        return "ground" if above > 0.6 else "board"
    return "other"


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
        tables.append(_rows(stream, input_id, looks, tracks, counts_for, placements(looks, tracks, masks)))
    return TableOutput(pa.concat_tables(tables), n_frames)


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
