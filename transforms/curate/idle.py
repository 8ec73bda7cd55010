"""Detection of idle intervals and frozen feeds in a stream."""

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
# Encoders alternate between several encodings of one image, such as quality levels.
_BACK = 16


@dataclass(frozen=True)
class IdleParams:
    """When a sequence of frames counts as idle.

    `threshold`: smoothed `motion_peak`, 0..1, below which nothing moves; sensor noise, compression and clouds stay
    under it.
    `low_contrast`: where the standard deviation of the tiles' luma is below this, in the dark or in fog, motion is
    faint, and the threshold is reduced in proportion, to a fifth at least.
    `window`: frames of the sliding mean, so that a single flash or the jump in quality at a keyframe ends no interval.
    `min_frames`: least length of an idle interval, and of a sequence of repeated frames to count as a frozen feed. The
    rest of an interval that a frozen feed splits may be shorter.
    `scene_bits`: where motion is unknown (across a gap, next to a corrupt frame) the scene counts as unchanged if the
    perceptual hashes on both sides differ in at most this many bits.
    `drift`: how far an image may differ from the interval's first one, changes of light removed, 0..1; beyond that
    another interval begins. So a person who walks slowly, a camera that turns slowly and a dissolve are not idle.
    `repeat_below`: root mean square difference of luma, of 255, up to which two images count as one image that was
    encoded twice, so that the feed is frozen.
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
    """Idle intervals of one stream: positions of first and last frames (inclusive) and scores 0..1, each (M,).

    `frozen`: whether the frames only repeat earlier ones, shape (M,), bool.
    """

    first: Int64Array
    last: Int64Array
    score: npt.NDArray[np.float32]
    frozen: BoolArray


@dataclass(frozen=True)
class Course:
    """Measures of one stream's frames over time, arrays of shape (N,) in frame order.

    `motion_peak`, 0..1, and `tile_contrast`, 0..127.5, float32, NaN where unknown; `phash`, uint64; `content_id`,
    int64; `decodable`, whether the frame decodes (hash and content id of others are ignored); `starts_scene`, whether a
    scene starts with it. `is_clip`: whether the frames are from a video clip. `tiles`, shape (M, 576), uint8, are the
    stored tiles of the frames at the positions `tiles_at`, ascending, int64. `sketches`, shape (K, 16), int16, with the
    positions `sketches_at`, are those of image files and of the first frames of a clip's groups of pictures.
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
"""The columns of the tables `fingerprints` and `motion` from which a `Course` is built."""


def course_of(
    hashed: pl.DataFrame, moved: pl.DataFrame, starts: Int64Array, is_clip: bool
) -> tuple[Int64Array, Course]:
    """Return the frame numbers of a stream, shape (N,), ascending, and its `Course`.

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

    A frame of unknown motion belongs to an interval if the frames around it do; an interval never spans a cut, nor a
    change of scene across a gap. Motion is relative to the previous frame, so an interval starts one frame before its
    first still one. The score is 1 minus the mean motion divided by the threshold: 1 for no motion at all. Intervals
    are split where the feed freezes or resumes, and where slow changes have accumulated (`drift`).
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
    """Split intervals where the image has drifted from the one at their beginning.

    Only frames with stored tiles are compared. One differing frame may be a flash; two in a row, or the last one of the
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
    """Return for each frame the number, from 1, of the frozen run that contains it, or 0, shape (N,), int64."""
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
    """Yield first and last position of runs in which every frame has the content of an earlier frame of its scene.

    A camera never sends the same bytes twice, because of sensor noise. A clip's encoder does repeat an image in which
    it detects no change, up to the next keyframe, where a live image differs and a frozen one equals that of the
    previous keyframe. So a run in a clip must contain a change back to earlier content.
    """
    content = np.where(course.decodable, course.content_id, np.arange(len(scene)))
    _, first, inverse = np.unique(np.stack([scene, content]), axis=1, return_index=True, return_inverse=True)
    old = (first[inverse.reshape(-1)] < np.arange(len(scene))) & course.decodable
    changes = np.concatenate([[0], np.cumsum(content[1:] != content[:-1])])
    starts = np.flatnonzero(old & ~np.concatenate([[False], old[:-1]]))
    ends = np.flatnonzero(old & ~np.concatenate([old[1:], [False]]))
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        # The run starts with the frame that is repeated, or with the last one of the group of pictures that is.
        if changes[end] > changes[start] or not course.is_clip:
            yield start - 1, end


def _same_picture(course: Course, scene: Int64Array, params: IdleParams) -> Iterator[tuple[int, int]]:
    """Yield first and last position of runs in which each independently encoded image repeats a recent one.

    These are each image file, and the first frame of each group of pictures. However coarse the compression of a live
    image is, its noise changes the rounding, and the next group differs. An encoder that gets one image repeatedly
    produces the same encoding after a few groups.
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
    """Split intervals where a frozen run begins or ends, and return which of the pieces are frozen."""
    edges = np.flatnonzero(np.diff(run)) + 1
    inside = np.searchsorted(last, edges)
    cut = edges[(inside < len(first)) & (edges > np.append(first, len(run))[inside])]
    firsts, lasts = np.sort(np.concatenate([first, cut])), np.sort(np.concatenate([last, cut - 1]))
    return firsts, lasts, run[firsts] > 0


def scene_changes(
    motion_peak: npt.NDArray[np.float32], phash: npt.NDArray[np.uint64], decodable: BoolArray, scene_bits: int
) -> BoolArray:
    """Mark frames of unknown motion that do not resemble the last decodable frame before them, shape (N,), bool."""
    position = np.where(decodable, np.arange(len(phash)), -1)
    last = np.concatenate([[-1], np.maximum.accumulate(position)[:-1]])
    differing = np.bitwise_count(phash ^ phash[last])
    return np.isnan(motion_peak) & decodable & (last >= 0) & (differing > scene_bits)


def sliding_mean(values: npt.NDArray[np.float64], segment: Int64Array, window: int) -> npt.NDArray[np.float64]:
    """Return the centred mean over `window` values, truncated at the ends of each segment, shape (N,), float64.

    `segment` is non-decreasing; windows do not extend into other segments and are not padded.
    """
    at = np.arange(len(values))
    lowest = np.searchsorted(segment, segment, "left")
    highest = np.searchsorted(segment, segment, "right")
    low = np.maximum(at - window // 2, lowest)
    high = np.minimum(at + (window - window // 2), highest)
    total = np.concatenate([[0.0], np.cumsum(values)])
    return (total[high] - total[low]) / (high - low)


def _runs(still: BoolArray, calm: BoolArray, segment: Int64Array) -> tuple[Int64Array, Int64Array]:
    """Return first and last positions of runs within one segment that begin and end still and are calm somewhere."""
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
    """Extend intervals, given as frame positions, to adjacent frames of the same appearance.

    These are the frame before the first still one, and frames of unknown motion up to the stream's end or a change of
    scene. Runs are maximal, so a frame of unknown motion further inside is in a run already.
    """
    scene_start = np.searchsorted(scene, scene[first], "left")
    scene_end = np.searchsorted(scene, scene[last], "right") - 1
    before = np.maximum(first - 1, scene_start)
    # If all frames between the scene's start and the interval are of unknown motion, they belong to the interval.
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
