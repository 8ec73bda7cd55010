"""Intervals of a stream in which nothing moves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from annotated_types import Ge, Gt, Le

from transforms.core.intervals import interval_rows
from transforms.core.table_stage import TableInput, TableOutput
from transforms.metrics.hashing import from_hex, layout_array
from transforms.metrics.motion import STILL, drift
from transforms.metrics.sketch import SIZE, Int16Array, repeats

BoolArray = npt.NDArray[np.bool_]
Int64Array = npt.NDArray[np.int64]

_LEAST_VISIBLE = 0.2
_AHEAD = 8
# An encoder takes turns between a few ways of coding one picture, such as qualities.
_BACK = 16


@dataclass(frozen=True)
class IdleParams:
    """When a stretch of frames counts as idle.

    `threshold`: smoothed `motion_peak` below which nothing moves; sensor noise, compression and clouds stay under it.
    `low_contrast`: where the tiles' luma varies less than this, in the dark or in fog, everything moves faintly, and
    the threshold falls in proportion, to a fifth at most.
    `window`: frames that the sliding mean covers, so that a single flash or a keyframe's pulse ends no interval.
    `min_frames`: length from which a still stretch is an interval, and from which repeated frames are a frozen feed.
    What a frozen feed leaves of an interval may be shorter.
    `scene_bits`: where motion is unknown (across a gap, beside a corrupt frame) the scene counts as the same if the
    perceptual hashes on both sides differ in at most this many bits.
    `drift`: how far a picture may be from what it was at the interval's beginning, changes of light taken out; beyond
    it another begins. So a person who walks slowly, a camera that turns slowly and a dissolve are not idle.
    `repeat_below`: how far two pictures may be apart, as root mean square of luma of 255, to be one picture that was
    coded twice, so that the feed is frozen.
    `keep`: how many frames of an interval curation keeps.
    """

    threshold: Annotated[float, Gt(0), Le(1)] = 0.03
    low_contrast: Annotated[float, Ge(0), Le(127.5)] = 12.0
    window: Annotated[int, Ge(1), Le(1001)] = 5
    min_frames: Annotated[int, Ge(2)] = 25
    scene_bits: Annotated[int, Ge(0), Le(64)] = 12
    drift: Annotated[float, Gt(0), Le(1)] = 0.07
    repeat_below: Annotated[float, Ge(0), Le(16)] = 0.15
    keep: Annotated[int, Ge(0)] = 1


@dataclass(frozen=True)
class Intervals:
    """Idle intervals of one stream, as positions into its frames: first and last (included), and score 0..1.

    `frozen`: whether the frames only repeat what was there before.
    """

    first: Int64Array
    last: Int64Array
    score: npt.NDArray[np.float32]
    frozen: BoolArray


@dataclass(frozen=True)
class Course:
    """What is known of one stream's frames, arrays of shape (N,) in frame order.

    `motion_peak`, 0..1, and `tile_contrast`, 0..127.5, float32, NaN where unknown; the perceptual hash, uint64; the
    content id, int64; whether the frame decodes (hash and content id of one that does not are ignored); whether a scene
    starts with it. `is_clip`: whether the frames were decoded from a clip. `tiles`, shape (M, 576), dtype uint8, are
    those of the frames at the positions `tiles_at`, ascending, dtype int64, of which they are kept; and so `sketches`,
    shape (K, 16), dtype int16, of the pictures of files and of the first frames of a clip's groups of pictures.
    """

    motion_peak: npt.NDArray[np.float32]
    tile_contrast: npt.NDArray[np.float32]
    phash: npt.NDArray[np.uint64]
    content_id: Int64Array
    decodable: BoolArray
    starts_scene: BoolArray
    is_clip: bool
    tiles: npt.NDArray[np.uint8]
    tiles_at: Int64Array
    sketches: Int16Array
    sketches_at: Int64Array


FINGERPRINTS = ("frame_idx", "input_id", "phash")
MOTION = ("frame_idx", "motion_peak", "tile_contrast", "tiles", "sketch")
"""The columns of these tables that a course is made of."""


def course_of(
    hashed: pl.DataFrame, moved: pl.DataFrame, starts: Int64Array, is_clip: bool
) -> tuple[Int64Array, Course]:
    """Return the frame numbers of a stream, shape (N,), ascending, and its course.

    `hashed` has the columns `FINGERPRINTS`, `moved` the columns `MOTION`; `starts` are the first numbers of its scenes.
    """
    rows = hashed.join(moved, on="frame_idx", how="left").sort("frame_idx")
    index = rows["frame_idx"].to_numpy()
    peak, contrast = (
        rows[name].cast(pl.Float32).fill_null(np.nan).to_numpy() for name in ("motion_peak", "tile_contrast")
    )
    return index, Course(
        motion_peak=peak,
        tile_contrast=contrast,
        phash=from_hex(rows["phash"].fill_null("0" * 16).to_arrow()),
        content_id=rows["input_id"].to_numpy(),
        decodable=rows["phash"].is_not_null().to_numpy(),
        starts_scene=np.isin(index, starts),
        is_clip=is_clip,
        tiles=_kept(rows["tiles"], STILL[0] * STILL[1]),
        tiles_at=np.flatnonzero(rows["tiles"].is_not_null().to_numpy()),
        sketches=_kept(rows["sketch"], 2 * SIZE).view(np.int16),
        sketches_at=np.flatnonzero(rows["sketch"].is_not_null().to_numpy()),
    )


def _kept(column: pl.Series, n_bytes: int) -> npt.NDArray[np.uint8]:
    return layout_array(column.drop_nulls().to_frame("kept").to_arrow()["kept"], n_bytes)


def find_idle(course: Course, params: IdleParams) -> Intervals:
    """Find the idle intervals of one stream.

    A frame without a known motion belongs to an interval if the frames around it do; an interval spans neither a cut
    nor a change of scene that a gap hides. Motion at a frame is relative to the one before, so an interval starts one
    frame before its first still one. The score is 1 minus the mean motion over the threshold: 1 for none at all. Where
    the feed freezes, or comes back, one interval ends and another begins, and so where small changes have added up.
    """
    motion_peak = course.motion_peak
    known = np.flatnonzero(~np.isnan(motion_peak))
    if not len(known):
        none = np.empty(0, np.int64)
        return Intervals(none, none, none.astype(np.float32), none.astype(np.bool_))
    visible = np.clip(course.tile_contrast[known] / max(params.low_contrast, 1e-9), _LEAST_VISIBLE, 1)
    peak = motion_peak[known].astype(np.float64) / visible
    hidden = scene_changes(motion_peak, course.phash, course.decodable, params.scene_bits)
    scene = np.cumsum(hidden | course.starts_scene, dtype=np.int64)
    smooth = sliding_mean(peak, scene[known], params.window)
    still = peak < params.threshold
    first, last = _runs(still, smooth < params.threshold, scene[known])
    firsts, lasts = _with_neighbours(known[first], known[last], known, scene)
    firsts, lasts = _steady(firsts, lasts, course, params)
    long_enough = lasts - firsts + 1 >= params.min_frames
    firsts, lasts, frozen = _parted(firsts[long_enough], lasts[long_enough], _frozen_runs(course, scene, params))
    total = np.concatenate([[0.0], np.cumsum(peak)])
    start, stop = np.searchsorted(known, firsts, "right"), np.searchsorted(known, lasts, "right")
    mean = (total[stop] - total[start]) / np.maximum(stop - start, 1)
    score = np.clip(1 - mean / params.threshold, 0, 1).astype(np.float32)
    return Intervals(firsts, lasts, score, frozen)


def _steady(first: Int64Array, last: Int64Array, course: Course, params: IdleParams) -> tuple[Int64Array, Int64Array]:
    """Part intervals where the picture is no longer what it was where they begin.

    Looked at are the frames whose tiles are kept. That one of them differs may be a flash; two, or the last of the
    interval, are a change.
    """
    starts = []
    for at, end in zip(*(np.searchsorted(course.tiles_at, x).tolist() for x in (first, last + 1)), strict=True):
        anchor, ahead, differed = at, _AHEAD, False
        here = at + 1
        while here < end:
            stop = min(end, here + ahead)
            shown = course.tiles[anchor]
            limit = params.drift * np.clip(float(shown.std()) / max(params.low_contrast, 1e-9), _LEAST_VISIBLE, 1)
            differs = drift(course.tiles[here:stop], shown) > limit
            before = np.concatenate([[differed], differs[:-1]])
            changed = np.flatnonzero(differs & before)
            if len(changed):
                anchor = here + int(changed[0]) - 1
                starts.append(anchor)
                here, ahead, differed = anchor + 1, _AHEAD, False
            else:
                here, ahead, differed = stop, 2 * ahead, bool(differs[-1])
        if differed:
            starts.append(end - 1)
    cut = course.tiles_at[np.array(starts, np.int64)]
    return np.sort(np.concatenate([first, cut])), np.sort(np.concatenate([last, cut - 1]))


def _frozen_runs(course: Course, scene: Int64Array, params: IdleParams) -> Int64Array:
    """Return for each frame the number of the frozen stretch that it lies in, from 1, or 0, shape (N,)."""
    stretches = sorted([*_same_content(course, scene), *_same_picture(course, scene, params)])
    run = np.zeros(len(scene), np.int64)
    number = end = 0
    for first, last in stretches:
        if last - first + 1 < params.min_frames:
            continue
        number += not number or first > end
        end = max(end, last)
        run[first : last + 1] = number
    return run


def _same_content(course: Course, scene: Int64Array) -> Iterator[tuple[int, int]]:
    """Yield first and last of stretches in which every frame has the content of an earlier one of its scene.

    A camera never sends the same bytes twice, for its sensor's noise. The encoder of a clip does repeat a picture in
    which it finds no change, up to the next keyframe, at which a live picture differs and a frozen one is what it was
    at the keyframe before. So in a clip there has to be a change, back to what was there already.
    """
    content = np.where(course.decodable, course.content_id, np.arange(len(scene)))
    _, first, inverse = np.unique(np.stack([scene, content]), axis=1, return_index=True, return_inverse=True)
    old = (first[inverse.reshape(-1)] < np.arange(len(scene))) & course.decodable
    changes = np.concatenate([[0], np.cumsum(content[1:] != content[:-1])])
    starts = np.flatnonzero(old & ~np.concatenate([[False], old[:-1]]))
    ends = np.flatnonzero(old & ~np.concatenate([old[1:], [False]]))
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        # The frame before is the one that is repeated, or the last of the group of pictures that is.
        if changes[end] > changes[start] or not course.is_clip:
            yield start - 1, end


def _same_picture(course: Course, scene: Int64Array, params: IdleParams) -> Iterator[tuple[int, int]]:
    """Yield first and last of stretches in which each picture that was coded for itself is one of those shortly before.

    That is each file, and each group of pictures of a clip. However coarsely a live picture is coded, its noise decides
    what is rounded up and what down, and the next group differs. An encoder that is given one picture again and again
    comes to code it alike after a few groups.
    """
    at = course.sketches_at
    if not len(at):
        return
    old = repeats(course.sketches, scene[at], params.repeat_below, _BACK)
    starts = np.flatnonzero(old & ~np.concatenate([[False], old[:-1]]))
    ends = np.flatnonzero(old & ~np.concatenate([old[1:], [False]]))
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        last = int(at[end])
        if course.is_clip and (end + 1 == len(at) or scene[at[end + 1]] != scene[last]):
            last = int(np.searchsorted(scene, scene[last], "right")) - 1
        yield int(at[start - 1]), last


def _parted(first: Int64Array, last: Int64Array, run: Int64Array) -> tuple[Int64Array, Int64Array, BoolArray]:
    """Cut intervals where a frozen stretch begins or ends, and say which pieces are frozen."""
    edges = np.flatnonzero(np.diff(run)) + 1
    inside = np.searchsorted(last, edges)
    cut = edges[(inside < len(first)) & (edges > np.append(first, len(run))[inside])]
    firsts, lasts = np.sort(np.concatenate([first, cut])), np.sort(np.concatenate([last, cut - 1]))
    return firsts, lasts, run[firsts] > 0


def scene_changes(
    motion_peak: npt.NDArray[np.float32], phash: npt.NDArray[np.uint64], decodable: BoolArray, scene_bits: int
) -> BoolArray:
    """Mark frames of unknown motion that do not look like the last decodable frame before them, shape (N,)."""
    position = np.where(decodable, np.arange(len(phash)), -1)
    last = np.concatenate([[-1], np.maximum.accumulate(position)[:-1]])
    differing = np.bitwise_count(phash ^ phash[last])
    return np.isnan(motion_peak) & decodable & (last >= 0) & (differing > scene_bits)


def sliding_mean(values: npt.NDArray[np.float64], segment: Int64Array, window: int) -> npt.NDArray[np.float64]:
    """Return the centred mean over `window` values, cut off at the ends of each segment, shape (N,).

    `segment` is non-decreasing; windows do not reach into another segment and are not padded.
    """
    at = np.arange(len(values))
    lowest = np.searchsorted(segment, segment, "left")
    highest = np.searchsorted(segment, segment, "right")
    low = np.maximum(at - window // 2, lowest)
    high = np.minimum(at + (window - window // 2), highest)
    total = np.concatenate([[0.0], np.cumsum(values)])
    return (total[high] - total[low]) / (high - low)


def _runs(still: BoolArray, calm: BoolArray, segment: Int64Array) -> tuple[Int64Array, Int64Array]:
    """Return first and last positions of runs that are calm somewhere, begin and end still, and stay in one segment."""
    inside = still | calm
    new_run = np.concatenate([[True], (inside[1:] != inside[:-1]) | (segment[1:] != segment[:-1])])
    run = np.cumsum(new_run) - 1
    n_runs = int(run[-1]) + 1
    at = np.arange(len(still))
    first = np.full(n_runs, len(still))
    last = np.full(n_runs, -1)
    np.minimum.at(first, run[still], at[still])
    np.maximum.at(last, run[still], at[still])
    calm_somewhere = np.bincount(run, weights=calm & inside, minlength=n_runs) > 0
    chosen = np.flatnonzero(calm_somewhere & (last >= 0))
    return first[chosen], last[chosen]


def _with_neighbours(
    first: Int64Array, last: Int64Array, known: Int64Array, scene: Int64Array
) -> tuple[Int64Array, Int64Array]:
    """Widen intervals, given as frame positions, to the frames that look like their ends.

    That is the frame before the first still one, and frames of unknown motion up to the stream's end or a change of
    scene. Runs are maximal, so a frame of unknown motion further inside lies within one already.
    """
    scene_start = np.searchsorted(scene, scene[first], "left")
    scene_end = np.searchsorted(scene, scene[last], "right") - 1
    before = np.maximum(first - 1, scene_start)
    # Where every frame between the scene's start and the interval is of unknown motion, it belongs to the interval.
    n_known_before = np.searchsorted(known, first) - np.searchsorted(known, scene_start)
    n_known_after = np.searchsorted(known, scene_end, "right") - np.searchsorted(known, last, "right")
    return np.where(n_known_before == 0, scene_start, before), np.where(n_known_after == 0, scene_end, last)


def compute_idle(given: TableInput) -> TableOutput:
    """Return rows of `idle`: the idle intervals of each stream."""
    params: IdleParams = given.params["idle"]
    kinds = given.listed("streams", ("stream_id", "kind"))
    clips = set(kinds.filter(pc.equal(kinds["kind"], "video"))["stream_id"].to_pylist())
    tables = []
    n_frames = 0
    for stream, input_id in given.scopes.items():
        hashed = pl.DataFrame(given.above["fingerprints"].read(FINGERPRINTS, [stream]))
        moved = pl.DataFrame(given.above["motion"].read(MOTION, [stream]))
        starts = given.above["scenes"].read(("start_idx",), [stream])["start_idx"].to_numpy()
        index, course = course_of(hashed, moved, starts, stream in clips)
        found = find_idle(course, params)
        rows = interval_rows(stream, input_id, index, found.first, found.last)
        rows = rows.append_column("idle_score", pa.array(found.score))
        tables.append(rows.append_column("frozen", pa.array(found.frozen)))
        n_frames += len(index)
    return TableOutput(pa.concat_tables(tables), n_frames)
