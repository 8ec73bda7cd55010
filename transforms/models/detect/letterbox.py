"""Boxes and the fitting of pictures into the square that a model sees."""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from transforms.models.detect.detections import Bgr

FloatArray = npt.NDArray[np.float32]

PAD = 114
"""The grey that letterboxes are filled with, in all of YOLO."""


class Fit(NamedTuple):
    """How a picture lies in a model's input: scaled by `scale`, then moved by `left` and `top` pixels."""

    scale: tuple[float, float]
    left: int
    top: int

    def back(self, corners: FloatArray) -> FloatArray:
        """Return (N, 4) edges (left, upper, right, lower) in pixels of the picture, given in those of the input."""
        moved = corners - np.array([self.left, self.top, self.left, self.top], np.float32)
        return (moved / np.array([*self.scale, *self.scale], np.float32)).astype(np.float32)


def letterbox(frame: Bgr, size: tuple[int, int], centred: bool) -> tuple[Bgr, Fit]:
    """Scale an (H, W, 3) uint8 picture to fit (width, height), and fill up with grey.

    The picture lies at the top left, its sides rounded down, as YOLOX has it; or `centred`, its sides rounded, the odd
    pixel below and to the right, as Ultralytics has it. Enlarges, too.
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
    # Ultralytics takes boxes back by the sides that were rounded, YOLOX by the scale.
    fitted = (inner[0] / width, inner[1] / height) if centred else (scale, scale)
    return canvas, Fit(fitted, left, top)


def clip_corners(corners: FloatArray, width: int, height: int) -> FloatArray:
    """Return (N, 4) edges (left, upper, right, lower) cut off at those of the frame."""
    return np.clip(corners, 0, np.array([width, height, width, height], np.float32))


def non_max_suppression(
    corners: FloatArray, scores: FloatArray, labels: npt.NDArray[np.int64], iou: float
) -> npt.NDArray[np.int64]:
    """Return which of N boxes stay, the surest first, shape (M,).

    A box goes if it overlaps a surer one of its label that stays by more than `iou`, intersection over union; of equal
    scores the first counts as surer. `corners` has shape (N, 4): left, upper, right, lower edges.
    """
    if not len(scores):
        return np.empty(0, np.int64)
    boxes: Any = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1).astype(np.float64)
    sure: Any = scores.astype(np.float32)
    kinds: Any = labels.astype(np.int32)
    kept = cv2.dnn.NMSBoxesBatched(boxes, sure, kinds, 0.0, iou)
    return np.asarray(kept, np.int64).reshape(-1)
