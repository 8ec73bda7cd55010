"""Interface of detectors, their results, and conversion to rows with stable object ids."""

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
"""A decoded frame in OpenCV's format: (H, W, 3), uint8, blue first, 0..255."""

_FLOAT_COLUMNS = ("score", "bbox_x", "bbox_y", "bbox_w", "bbox_h")


class FrameKey(NamedTuple):
    """A frame's stream and number, and the `input_id` of its content."""

    stream_id: str
    frame_idx: int
    input_id: int


@dataclass(frozen=True)
class Thresholds:
    """Limits on detections: lowest score, overlap (IoU) for non-maximum suppression, and most objects of a frame."""

    min_score: float
    nms_iou: float
    max_objects: int


@dataclass(frozen=True)
class Detections:
    """The objects on one frame, in descending order of score.

    `boxes`: left, top, width, height in pixels of the full frame, shape (N, 4), float32. `scores`: 0..1, shape (N,),
    float32. `labels`: index into the detector's names, shape (N,), int64. `masks`: COCO run lengths of each over the
    full frame; empty for detectors of boxes only.
    """

    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    masks: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def none(cls) -> Detections:
        """Return the result for a frame without objects."""
        return cls(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int64))

    @classmethod
    def of_corners(
        cls, corners: npt.NDArray[np.floating], scores: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]
    ) -> Detections:
        """Return detections from N boxes given as left, top, right and bottom edges, in descending order of score.

        Boxes without width or height are dropped; equal scores keep their order.
        """
        boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
        order = np.argsort(-scores, kind="stable")
        order = order[(boxes[order, 2:] > 0).all(axis=1)]
        return cls(boxes[order].astype(np.float32), scores[order].astype(np.float32), labels[order].astype(np.int64))


class Finder(Protocol):
    """What the rows of a detection state about its source."""

    @property
    def names(self) -> tuple[str, ...]:
        """The category names of the labels."""

    @property
    def source(self) -> str:
        """The kind of detector."""

    @property
    def model(self) -> str:
        """The name of the weights."""

    @property
    def weights_hash(self) -> str | None:
        """The SHA-256 of the weights."""


class Detector(Finder, Protocol):
    """A callable detector: frames and their keys in, the objects on each of them out, in the same order.

    The result for a frame must not depend on the other frames of the call, unless the detector documents on which.
    """

    def __call__(self, frames: Sequence[Bgr], keys: Sequence[FrameKey], /) -> list[Detections]:
        """Detect objects on frames."""


def annotation_rows(
    detector: Finder, stage_key: str, keys: Sequence[FrameKey], found: Sequence[Detections]
) -> pa.Table:
    """Return the rows of `annotations` for a detector's results, in the order of the frames.

    `stage_key` is used for the ids; it is not a column.
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
    """Return the rows of `annotated` for processed frames."""
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
    """Return the id of every object: 32 hex digits that depend on stage, frame content, category and box.

    All arguments have N entries; `boxes` has shape (N, 4). Reviews refer to objects by id, so the same object must get
    the same id when it is recomputed, and an id must never be reused for another object. The id is therefore a hash of
    the stage key, the frame and its content, the category, and the box in whole pixels: another thread count or
    processor moves a box by thousandths of a pixel, which changes the ids of very few objects, and then to unused ids.
    The position in the list is not included, since two objects of nearly equal scores would swap their ids, and with
    them their reviews. Only objects that are equal in all of these are distinguished by their order.
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
    # A prefix byte shifts all positions, which have other random words, so that the two halves are independent.
    return (prefix + text).to_arrow().cast(pa.string())
