"""Multi-object tracking: links the boxes of one object over frames, from stored boxes without images.

The method is ByteTrack (Zhang et al. 2022, "ByteTrack: Multi-object tracking by associating every detection box").
Boxes of high score are matched with the predicted positions of tracks, then the unmatched tracks with boxes of low
score. Predictions are those of a Kalman filter, with the noise of SORT (Bewley et al. 2016) and DeepSORT (Wojke et al.
2017).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from annotated_types import Ge, Le

from transforms.core.boxes import FloatArray, box_iou
from transforms.core.table_stage import StageRows, TableInput, TableOutput

Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

PACKAGES = ("scipy",)

_POSITION, _VELOCITY = 1 / 20, 1 / 160
"""Standard deviations per frame of position and velocity, relative to the box's height."""

_LEAST_SURE_IOU = 0.5
_FAR = 1e6
_FRAMES_PER_CHECK = 512


@dataclass(frozen=True)
class TrackParams:
    """When boxes on several frames are one object.

    `min_score`: lowest score of a box that begins a track, or continues a lost one.
    `low_score`: lowest score of a box that continues a track of the previous frame.
    `min_iou`: least intersection over union of a box with the predicted one.
    `lost`: frames for which a track may be without a box.
    `min_frames`: least number of boxes of a track; boxes of shorter ones belong to none.
    `by_category`: whether a track has one category only, or may change it as the detector does.
    """

    min_score: Annotated[float, Ge(0), Le(1)] = 0.5
    low_score: Annotated[float, Ge(0), Le(1)] = 0.1
    min_iou: Annotated[float, Ge(0), Le(1)] = 0.2
    lost: Annotated[int, Ge(0), Le(100_000)] = 30
    min_frames: Annotated[int, Ge(1), Le(1000)] = 2
    by_category: bool = False


@dataclass(frozen=True)
class Boxes:
    """N boxes of a stream, in order of the frames.

    `place`: position of each box's frame, (N,), int64; `xywh`: left, top, width, height in pixels, (N, 4); `score`,
    0..1; `category`: number of the category.
    """

    place: Int64Array
    xywh: FloatArray
    score: FloatArray
    category: Int64Array


@dataclass
class _Tracks:
    """The T active tracks: predicted centre x, y, aspect ratio, height and their velocities, (T, 8).

    `unsure` (T, 8, 8) is the covariance of that state, `last_seen` the time of the last box, `held` the boxes of each
    track.
    """

    state: FloatArray = field(default_factory=lambda: np.empty((0, 8)))
    unsure: FloatArray = field(default_factory=lambda: np.empty((0, 8, 8)))
    last_seen: Int64Array = field(default_factory=lambda: np.empty(0, np.int64))
    category: Int64Array = field(default_factory=lambda: np.empty(0, np.int64))
    held: list[list[int]] = field(default_factory=list)

    def keep(self, chosen: BoolArray) -> None:
        """Keep only the chosen tracks."""
        self.state, self.unsure = self.state[chosen], self.unsure[chosen]
        self.last_seen, self.category = self.last_seen[chosen], self.category[chosen]
        self.held = [held for held, stays in zip(self.held, chosen.tolist(), strict=True) if stays]

    def move_on(self, steps: int) -> None:
        """Predict the state this many frames later (Kalman prediction)."""
        course = np.eye(8)
        course[:4, 4:] = np.eye(4) * steps
        noise = _deviations(self.state[:, 3], (1, 1, 1e-2, 1), (1, 1, 1e-5, 1)) ** 2 * steps
        self.state = self.state @ course.T
        self.unsure = course @ self.unsure @ course.T + noise[:, :, None] * np.eye(8)

    def take(self, which: Int64Array, boxes: Boxes, chosen: Int64Array, now: int) -> None:
        """Correct the state of tracks by the boxes matched with them (Kalman update)."""
        if not len(which):
            return
        scale = (1, 1, 1e-1, 1)
        noise = _deviations(self.state[which, 3], scale, scale)[:, :4] ** 2
        projected = self.unsure[which][:, :4, :4] + noise[:, :, None] * np.eye(4)
        gain = np.linalg.solve(projected, self.unsure[which][:, :4, :]).transpose(0, 2, 1)
        off = _measured(boxes.xywh[chosen]) - self.state[which, :4]
        self.state[which] += (gain @ off[:, :, None])[:, :, 0]
        self.unsure[which] -= gain @ projected @ gain.transpose(0, 2, 1)
        self.last_seen[which] = now
        self.category[which] = boxes.category[chosen]
        for track, box in zip(which.tolist(), chosen.tolist(), strict=True):
            self.held[track].append(box)

    def begin(self, boxes: Boxes, chosen: Int64Array, now: int) -> None:
        """Begin a track with each of the chosen boxes."""
        measured = _measured(boxes.xywh[chosen])
        deviations = _deviations(measured[:, 3], (2, 2, 1e-2, 2), (10, 10, 1e-5, 10))
        self.state = np.concatenate([self.state, np.concatenate([measured, np.zeros_like(measured)], axis=1)])
        self.unsure = np.concatenate([self.unsure, deviations[:, :, None] ** 2 * np.eye(8)])
        self.last_seen = np.concatenate([self.last_seen, np.full(len(chosen), now)])
        self.category = np.concatenate([self.category, boxes.category[chosen]])
        self.held += [[box] for box in chosen.tolist()]


def follow(
    boxes: Boxes,
    times: Int64Array,
    begins: BoolArray,
    params: TrackParams,
    check: Callable[[], None] = lambda: None,
) -> Int64Array:
    """Return the track of each of N boxes, from 1 in the order of their first boxes, 0 for none, shape (N,), int64.

    `times` is the time of each of F frames, in frames; `begins` marks the frames after a cut or a gap, which no track
    spans. Tracks up to a frame do not depend on later frames, except whether they reach `min_frames`. `check` is called
    regularly, to interrupt by an exception.
    """
    found = np.zeros(len(boxes.place), np.int64)
    whole: list[list[int]] = []
    tracks = _Tracks()
    ends = np.searchsorted(boxes.place, np.arange(len(times) + 1))
    for place, now in enumerate(times.tolist()):
        if place % _FRAMES_PER_CHECK == 0:
            check()
        if begins[place]:
            whole += tracks.held
            tracks = _Tracks()
        elif place:
            tracks.move_on(now - int(times[place - 1]))
        _match_frame(
            tracks, boxes, np.arange(ends[place], ends[place + 1]), now, int(times[place - 1]) if place else now, params
        )
        # A track that is shorter than `min_frames` is dropped at the first frame without a box.
        last = np.array([len(held) for held in tracks.held], np.int64)
        stays = (now - tracks.last_seen <= params.lost) & ((tracks.last_seen == now) | (last >= params.min_frames))
        whole += [held for held, stay in zip(tracks.held, stays.tolist(), strict=True) if not stay]
        tracks.keep(stays)
    whole += tracks.held
    numbered = sorted(held for held in whole if len(held) >= params.min_frames)
    for number, held in enumerate(numbered, 1):
        found[held] = number
    return found


def _match_frame(tracks: _Tracks, boxes: Boxes, here: Int64Array, now: int, before: int, params: TrackParams) -> None:
    """Match the boxes `here`, of one frame, with the tracks, and begin new tracks."""
    sure = here[boxes.score[here] >= params.min_score]
    everyone = np.arange(len(tracks.held))
    mine, theirs = _matched(tracks, everyone, boxes, sure, params.min_iou, params.by_category)
    tracks.take(mine, boxes, theirs, now)
    left = np.setdiff1d(everyone[tracks.last_seen == before], mine) if now != before else everyone[:0]
    unsure = here[(boxes.score[here] < params.min_score) & (boxes.score[here] >= params.low_score)]
    more, faint = _matched(tracks, left, boxes, unsure, max(params.min_iou, _LEAST_SURE_IOU), params.by_category)
    tracks.take(more, boxes, faint, now)
    tracks.begin(boxes, np.setdiff1d(sure, theirs), now)


def _matched(
    tracks: _Tracks, which: Int64Array, boxes: Boxes, chosen: Int64Array, least: float, by_category: bool
) -> tuple[Int64Array, Int64Array]:
    """Return tracks and the boxes matched with them, so that the sum of overlaps is largest."""
    from scipy.optimize import linear_sum_assignment

    if not len(which) or not len(chosen):
        return which[:0], chosen[:0]
    overlap = box_iou(_expected(tracks.state[which]), boxes.xywh[chosen])
    apart = overlap < max(least, np.finfo(float).tiny)
    if by_category:
        apart |= tracks.category[which][:, None] != boxes.category[chosen][None]
    mine, theirs = linear_sum_assignment(np.where(apart, _FAR, 1 - overlap))
    good = ~apart[mine, theirs]
    return which[mine[good]], chosen[theirs[good]]


def _measured(xywh: FloatArray) -> FloatArray:
    """Return centre x, centre y, aspect ratio (width / height), and height of boxes, (N, 4)."""
    width, height = xywh[:, 2], np.maximum(xywh[:, 3], 1e-6)
    return np.stack([xywh[:, 0] + width / 2, xywh[:, 1] + height / 2, width / height, height], axis=1)


def _expected(state: FloatArray) -> FloatArray:
    height = np.maximum(state[:, 3], 1e-6)
    width = np.maximum(state[:, 2], 0) * height
    return np.stack([state[:, 0] - width / 2, state[:, 1] - height / 2, width, height], axis=1)


def _deviations(
    height: FloatArray, position: tuple[float, float, float, float], velocity: tuple[float, float, float, float]
) -> FloatArray:
    """Return standard deviations, (N, 8), as multiples of those for the height; of the aspect ratio as given."""
    tall = np.abs(height)[:, None]
    there = tall * _POSITION * np.array(position)
    moves = tall * _VELOCITY * np.array(velocity)
    there[:, 2], moves[:, 2] = position[2], velocity[2]
    return np.concatenate([there, moves], axis=1)


_KEY = ["stream_id", "frame_idx"]
_EDGES = ["bbox_x", "bbox_y", "bbox_w", "bbox_h"]


def compute_tracks(given: TableInput) -> TableOutput:
    """Return rows of `tracks`: the objects of each stream that are the same over several frames."""
    listed = pl.DataFrame(given.listed("streams", ("stream_id", "step", "gaps")))
    tables = []
    n_frames = 0
    for stream, input_id in given.scopes.items():
        described = listed.filter(stream_id=stream)
        gaps = np.array([gap["end"] for gap in described["gaps"][0].to_list()], np.int64)
        annotate, scenes = given.above["annotate"], given.above["scenes"]
        params = given.params["track"]
        found, n_seen = _tracks_of(stream, annotate, scenes, int(described["step"][0]), gaps, params, given.check)
        tables.append(found.append_column("input_id", pa.array(np.full(found.num_rows, input_id))))
        n_frames += n_seen
    names = ["input_id", "annotation_id", *_KEY, "track_id"]
    return TableOutput(pa.concat_tables(t.select(names) for t in tables), n_frames)


def _tracks_of(
    stream: str,
    annotate: StageRows,
    scenes: StageRows,
    step: int,
    gap_ends: Int64Array,
    params: TrackParams,
    check: Callable[[], None],
) -> tuple[pa.Table, int]:
    """Return the rows of `tracks` for a stream, without `input_id`, and how many of its frames were annotated.

    Frames that were not annotated take time all the same: an object may be expected to have moved on meanwhile.
    """
    seen = annotate.read(("frame_idx",), [stream])
    frames = np.sort(seen["frame_idx"].to_numpy())
    columns = ("annotation_id", *_KEY, "category", "score", *_EDGES)
    read = annotate.read(columns, [stream], table="annotations")
    # In an order that no file of the table has a say in.
    found = pl.DataFrame(read).sort("frame_idx", "score", "annotation_id", descending=[False, True, False])
    starts = scenes.read(("start_idx",), [stream])["start_idx"].to_numpy()
    borders = np.sort(np.concatenate([starts, gap_ends]))
    # How many borders there are up to a frame: if more than for the frame before it, there is one between them.
    passed = np.searchsorted(borders, frames, side="right")
    begins = np.diff(passed, prepend=-1) > 0
    numbers = found["category"].rank("dense").to_numpy().astype(np.int64)
    boxes = Boxes(
        np.searchsorted(frames, found["frame_idx"].to_numpy()),
        found.select(_EDGES).to_numpy().astype(np.float64),
        found["score"].to_numpy().astype(np.float64),
        numbers,
    )
    tracks = follow(boxes, (frames - (frames[0] if len(frames) else 0)) // step, begins, params, check)
    rows = found.select("annotation_id", *_KEY).with_columns(track_id=tracks).filter(pl.col("track_id") > 0)
    return rows.to_arrow(), len(frames)
