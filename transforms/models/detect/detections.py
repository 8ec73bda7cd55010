"""What a detector is, what it finds, and the rows that come of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from transforms.core.identity import hash_strings

Bgr = npt.NDArray[np.uint8]
"""A decoded frame as cv2 has it: (H, W, 3), uint8, blue first."""

_FLOAT_COLUMNS = ("score", "bbox_x", "bbox_y", "bbox_w", "bbox_h")


class FrameKey(NamedTuple):
    """Which frame it is, and the `input_id` of its content."""

    stream_id: str
    frame_idx: int
    input_id: int


@dataclass(frozen=True)
class Thresholds:
    """What is taken for an object: its least score, the overlap at which two are one, and how many there may be."""

    min_score: float
    nms_iou: float
    max_objects: int


@dataclass(frozen=True)
class Detections:
    """What was found on one frame, the surest first.

    `boxes`: x, y, width, height in pixels of the full frame, top left origin, shape (N, 4), float32. `scores`: 0..1,
    shape (N,), float32. `labels`: index into the detector's names, shape (N,), int64. `masks`: for each its COCO run
    lengths over the full frame; empty where there are boxes alone.
    """

    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    masks: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def none(cls) -> Detections:
        """Return what an empty frame gives."""
        return cls(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int64))

    @classmethod
    def of_corners(
        cls, corners: npt.NDArray[np.floating], scores: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]
    ) -> Detections:
        """Return detections of N boxes given by their left, upper, right and lower edges, the surest first.

        Boxes without width or height are left out; equal scores keep their order.
        """
        boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
        order = np.argsort(-scores, kind="stable")
        order = order[(boxes[order, 2:] > 0).all(axis=1)]
        return cls(boxes[order].astype(np.float32), scores[order].astype(np.float32), labels[order].astype(np.int64))


class Finder(Protocol):
    """What rows say of whatever found them."""

    @property
    def names(self) -> tuple[str, ...]:
        """The words for labels."""

    @property
    def source(self) -> str:
        """What kind of detector it is."""

    @property
    def model(self) -> str:
        """The name of its weights."""

    @property
    def weights_hash(self) -> str | None:
        """The SHA-256 of its weights."""


class Detector(Finder, Protocol):
    """A callable that holds a model: frames and their keys in, what is on each of them out, in the same order.

    What it finds on a frame must not depend on the other frames of the call, unless its documentation says on which.
    """

    def __call__(self, frames: Sequence[Bgr], keys: Sequence[FrameKey], /) -> list[Detections]:
        """Look at frames."""


def annotation_rows(
    detector: Finder, stage_key: str, keys: Sequence[FrameKey], found: Sequence[Detections]
) -> pa.Table:
    """Return the rows of `annotations` for what a detector found, in the order of the frames.

    `stage_key` goes into the ids, not into a column.
    """
    counts = np.array([len(each) for each in found], np.int64)
    frame_of = np.repeat(np.arange(len(found)), counts)
    boxes = np.concatenate([each.boxes for each in found] or [np.empty((0, 4), np.float32)])
    scores = np.concatenate([each.scores for each in found] or [np.empty(0, np.float32)])
    labels = np.concatenate([each.labels for each in found] or [np.empty(0, np.int64)])
    streams = pa.array([k.stream_id for k in keys], pa.string()).take(pa.array(frame_of))
    numbers = np.array([k.frame_idx for k in keys], np.int64)[frame_of]
    inputs = np.array([k.input_id for k in keys], np.int64)[frame_of]
    categories = pa.array(detector.names, pa.string()).take(pa.array(labels))
    n = len(scores)
    masks = [mask for each in found for mask in each.masks or [None] * len(each)]
    return pa.table(
        {
            "input_id": inputs,
            "annotation_id": annotation_ids(stage_key, streams, numbers, inputs, categories, boxes),
            "stream_id": streams,
            "frame_idx": numbers,
            "category": categories,
            **dict(zip(_FLOAT_COLUMNS, (np.clip(scores, 0, 1), *boxes.T), strict=True)),
            "mask_rle": pa.array(masks, pa.string()),
            "track_id": pa.nulls(n, pa.int64()),
            "text": pa.nulls(n, pa.string()),
            "source": pa.repeat(detector.source, n),
            "model": pa.repeat(detector.model, n),
            "weights_hash": pa.array([detector.weights_hash] * n, pa.string()),
        }
    )


def annotated_rows(keys: Sequence[FrameKey], found: Sequence[Detections]) -> pa.Table:
    """Return the rows of `annotated` for frames that were looked at."""
    return pa.table(
        {
            "input_id": pa.array([k.input_id for k in keys], pa.int64()),
            "stream_id": pa.array([k.stream_id for k in keys], pa.string()),
            "frame_idx": pa.array([k.frame_idx for k in keys], pa.int64()),
            "n_objects": pa.array([len(each) for each in found], pa.int64()),
        }
    )


def annotation_ids(
    stage_key: str,
    streams: pa.Array,
    numbers: npt.NDArray[np.int64],
    inputs: npt.NDArray[np.int64],
    categories: pa.Array,
    boxes: npt.NDArray[np.float32],
) -> pa.Array:
    """Return the id of every object: 32 hex digits that say by whom, on which picture, what and where.

    All have N entries; `boxes` has shape (N, 4). A review names an object by its id, so an id must come again when the
    object does, and must never come to mean another one. It is therefore made of the stage key, the frame and its
    content, the category, and the box in whole pixels: another thread count or processor moves a box by thousandths of
    a pixel, which changes the id of very few, and then to one that nobody has spoken of. The place in the list is not
    part of it, since two objects of nearly equal scores would trade their ids, and with them what was said of either.
    Only objects that are alike in everything are told apart by their order.
    """
    whole = np.rint(boxes).astype(np.int64)
    text = (
        pl.DataFrame(
            {
                "stream": pl.Series(streams.to_pylist(), dtype=pl.String),
                "number": numbers,
                "input": inputs,
                "category": pl.Series(categories.to_pylist(), dtype=pl.String),
                **{name: whole[:, at] for at, name in enumerate("xywh")},
            }
        )
        .with_columns(pl.lit(stage_key).alias("stage"))
        .select(pl.concat_str(pl.all(), separator="\x1f").alias("text"))
        .with_columns(twin=pl.int_range(pl.len()).over("text"))
        .select(pl.concat_str("text", "twin", separator="\x1f"))
        .to_series()
    )
    first, second = (hash_strings(_arrow(text, prefix)) for prefix in ("", "\x1f"))
    digits = np.stack([first, second], axis=1).astype(">u8").tobytes().hex()
    return pa.array([digits[at : at + 32] for at in range(0, len(digits), 32)], pa.string())


def _arrow(text: pl.Series, prefix: str) -> pa.Array:
    # A byte in front moves all others to places with other random words, so that the two halves know nothing of
    # each other.
    return (prefix + text).to_arrow().cast(pa.string())
