"""Letterboxing of frames into a model's input, clipping of boxes, and non-maximum suppression."""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from transforms.models.detect.detections import Bgr

FloatArray = npt.NDArray[np.float32]

PAD = 114
"""The grey value with which YOLO models are letterboxed."""


class Fit(NamedTuple):
    """How an image is placed in a model's input: scaled by `scale`, then moved by `left` and `top` pixels."""

    scale: tuple[float, float]
    left: int
    top: int

    def back(self, corners: FloatArray) -> FloatArray:
        """Convert (N, 4) edges (left, top, right, bottom) from pixels of the input to pixels of the image."""
        moved = corners - np.array([self.left, self.top, self.left, self.top], np.float32)
        return (moved / np.array([*self.scale, *self.scale], np.float32)).astype(np.float32)


def letterbox(frame: Bgr, size: tuple[int, int], centred: bool) -> tuple[Bgr, Fit]:
    """Scale an (H, W, 3) uint8 image, up or down, to fit into (width, height), and pad it with grey.

    The image is placed at the top left, its sides rounded down, as in YOLOX; or `centred`, its sides rounded, an odd
    pixel of padding at the bottom and right, as in Ultralytics.
    """
    height, width = frame.shape[:2]
    scale = min(size[0] / width, size[1] / height)
    if centred:
        inner = (round(width * scale), round(height * scale))
        left, top = (round((size[at] - inner[at]) / 2 - 0.1) for at in (0, 1))
    else:
        inner = (int(width * scale), int(height * scale))
        left, top = 0, 0
    inner = (max(1, inner[0]), max(1, inner[1]))
    canvas = np.full((size[1], size[0], 3), PAD, np.uint8)
    resized = frame if inner == (width, height) else cv2.resize(frame, inner, interpolation=cv2.INTER_LINEAR)
    canvas[top : top + inner[1], left : left + inner[0]] = resized
    # Ultralytics converts boxes back by the rounded sides, YOLOX by the scale.
    fitted = (inner[0] / width, inner[1] / height) if centred else (scale, scale)
    return canvas, Fit(fitted, left, top)


def clip_corners(corners: FloatArray, width: int, height: int) -> FloatArray:
    """Clip (N, 4) edges (left, top, right, bottom) in pixels to the frame."""
    return np.clip(corners, 0, np.array([width, height, width, height], np.float32))


def non_max_suppression(
    corners: FloatArray, scores: FloatArray, labels: npt.NDArray[np.int64], iou: float
) -> npt.NDArray[np.int64]:
    """Return the positions of the boxes that non-maximum suppression keeps, in descending order of score, shape (M,).

    A box is dropped if it overlaps a kept box of its label and a higher score by more than `iou`, intersection over
    union; of equal scores the first counts as higher. `corners` has shape (N, 4): left, top, right, bottom edges.
    """
    if not len(scores):
        return np.empty(0, np.int64)
    boxes: Any = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1).astype(np.float64)
    sure: Any = scores.astype(np.float32)
    kinds: Any = labels.astype(np.int32)
    kept = cv2.dnn.NMSBoxesBatched(boxes, sure, kinds, 0.0, iou)
    return np.asarray(kept, np.int64).reshape(-1)
