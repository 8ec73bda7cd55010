"""Ultralytics detectors (YOLO26 and earlier); code and weights are under AGPL-3.0, and so an extra."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from transforms.models.detect.detections import Bgr, Detections, FrameKey, Thresholds
from transforms.models.detect.letterbox import Fit, clip_corners, letterbox
from transforms.models.inference import ModelError
from transforms.models.torch_runtime import Device, Precision

QUIET = {"YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "0", "YOLO_VERBOSE": "0"}
"""Environment variables that keep the library from using the network, installing packages, and printing."""

_SIDE = 640


@dataclass(frozen=True)
class YoloSpec:
    """An Ultralytics detector that is not loaded yet.

    `size` is the side of the square input; 0 takes that of the training. `names` empty takes those in the weights.
    """

    path: Path
    weights_hash: str
    model: str
    limits: Thresholds
    size: int = 0
    names: tuple[str, ...] = ()
    precision: Precision = "auto"
    batch: int = 8


class Fitted(NamedTuple):
    """A frame in the model's square, shape (S, S, 3), uint8, BGR; how it was fitted, and its own size in pixels."""

    picture: Bgr
    fit: Fit
    width: int
    height: int


class YoloDetector:
    """An Ultralytics detector, with the results of its own `predict(rect=False)`.

    Every image is fitted into the same square, so that its result does not depend on the other images of the batch.
    Raises `ModelError` for weights that are no such detector.
    """

    source = "yolo26"

    def __init__(self, spec: YoloSpec, threads: int = 1) -> None:
        self._device = Device(spec.precision, threads)
        self._model, checkpoint = load_checkpoint(spec.path)
        self.licence: str | None = checkpoint.get("license") or "AGPL-3.0"
        own = tuple(str(name) for _, name in sorted(dict(self._model.names).items()))
        if spec.names and len(spec.names) != len(own):
            raise ModelError(f"{spec.path}: expected {len(own)} names, one per category, found {len(spec.names)}")
        self.names = spec.names or own
        self.model = spec.model
        self.weights_hash: str | None = spec.weights_hash
        self._limits, self._batch = spec.limits, spec.batch
        self.size = spec.size or _trained_size(checkpoint)
        if self.size % int(max(self._model.stride)):
            raise ModelError(f"{spec.path}: expected a multiple of {int(max(self._model.stride))}, found {self.size}")
        self._model = self._model.fuse(verbose=False).eval().to(self._device.name, self._device.dtype)

    def __call__(self, frames: Sequence[Bgr], _: Sequence[FrameKey] = ()) -> list[Detections]:
        """Detect objects on (H, W, 3) uint8 BGR frames of any sizes."""
        return self.detect([self.prepare(frame) for frame in frames])

    def prepare(self, frame: Bgr) -> Fitted:
        """Fit a frame into the model's square; may be called in any thread."""
        canvas, fit = letterbox(frame, (self.size, self.size), centred=True)
        return Fitted(canvas, fit, frame.shape[1], frame.shape[0])

    def detect(self, prepared: Sequence[Fitted]) -> list[Detections]:
        """Detect objects on preprocessed frames."""
        found: list[Detections] = []
        for first in range(0, len(prepared), self._batch):
            found += self._infer(prepared[first : first + self._batch])
        return found

    def _infer(self, some: Sequence[Fitted]) -> list[Detections]:
        from ultralytics.utils import nms

        torch, limits = self._device.torch, self._limits
        with torch.inference_mode():
            pictures = self._device.stacked([torch.from_numpy(each.picture) for each in some], self._batch)
            planes = pictures.permute(0, 3, 1, 2).contiguous().flip(1).to(self._device.dtype).div_(255)
            end_to_end = bool(getattr(self._model, "end2end", False))
            kept = nms.non_max_suppression(
                self._model(planes)[0][: len(some)],
                limits.min_score,
                limits.nms_iou,
                max_det=limits.max_objects,
                end2end=end_to_end,
            )
        return [_found(rows.float().cpu().numpy(), each) for rows, each in zip(kept, some, strict=True)]


def _found(rows: Any, frame: Fitted) -> Detections:
    corners = clip_corners(frame.fit.back(rows[:, :4]), frame.width, frame.height)
    return Detections.of_corners(corners, rows[:, 4], rows[:, 5].astype(np.int64))


def _trained_size(checkpoint: dict[str, Any]) -> int:
    size = (checkpoint.get("train_args") or {}).get("imgsz") or _SIDE
    return int(max(size) if isinstance(size, (list, tuple)) else size)


def load_checkpoint(path: Path) -> tuple[Any, dict[str, Any]]:
    """Return the detector in a weights file, and the file's other contents. Raises `ModelError`.

    Only tensors and known layers are unpickled: no other code in the file is executed.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    from ultralytics.nn.tasks import DetectionModel, torch_safe_load

    try:
        checkpoint, _ = torch_safe_load(str(path), safe_only=True)
        model = checkpoint.get("ema") or checkpoint.get("model")
    except Exception as error:
        raise ModelError(f"{path} holds no weights of Ultralytics: {' '.join(str(error).split())[:300]}") from error
    if type(model) is not DetectionModel:
        raise ModelError(f"{path}: expected a detector of Ultralytics, found {type(model).__name__}")
    return model.float(), checkpoint
