"""Closed-vocabulary detectors of the transformers library: D-FINE, DEIMv2, RT-DETR, RF-DETR."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from transforms.models.detect.detections import Bgr, Detections, FrameKey, Thresholds
from transforms.models.detect.letterbox import clip_corners
from transforms.models.torch_runtime import Device, Precision, as_rgb, load_pretrained, load_processor

KINDS = {
    "d_fine": "DFineForObjectDetection",
    "deimv2": "Deimv2ForObjectDetection",
    "rt_detr": "RTDetrForObjectDetection",
    "rt_detr_v2": "RTDetrV2ForObjectDetection",
    "rf_detr": "RfDetrForObjectDetection",
}
"""The class for each model type that a folder's `config.json` may name."""


@dataclass(frozen=True)
class PretrainedSpec:
    """A detector that is not loaded yet.

    `kind` is its class; `names` are its categories in order, or the phrases to find. `batch`, the most frames at once,
    affects the speed, not the result.
    """

    kind: str
    source: str
    folder: Path
    weights_hash: str
    model: str
    names: tuple[str, ...]
    limits: Thresholds
    precision: Precision = "auto"
    batch: int = 8


class Ready(NamedTuple):
    """A preprocessed frame: the processor's output, or on a GPU the image itself; and its height and width."""

    planes: Any
    size: tuple[int, int]


class PretrainedDetector:
    """A detector of transformers, with the results of the library's own pre- and post-processing.

    On a CPU, images are preprocessed in threads; on a GPU they are uploaded unchanged and preprocessed there. Raises
    `ModelError` for a folder that does not contain the model.
    """

    def __init__(self, spec: PretrainedSpec, threads: int = 1) -> None:
        self._device = Device(spec.precision, threads)
        self._processor = load_processor("AutoImageProcessor", spec.folder)
        self._model = load_pretrained(spec.kind, spec.folder, self._device)
        self._limits = spec.limits
        self._batch = spec.batch
        self.names = spec.names
        self.source = spec.source
        self.model = spec.model
        self.weights_hash: str | None = spec.weights_hash

    def __call__(self, frames: Sequence[Bgr], _: Sequence[FrameKey] = ()) -> list[Detections]:
        """Detect objects on (H, W, 3) uint8 BGR frames of any sizes."""
        return self.detect([self.prepare(frame) for frame in frames])

    def prepare(self, frame: Bgr) -> Ready:
        """Preprocess a frame; may be called in any thread."""
        return made_ready(frame, self._processor, self._device)

    def detect(self, prepared: Sequence[Ready]) -> list[Detections]:
        """Detect objects on preprocessed frames."""
        found: list[Detections] = []
        for first in range(0, len(prepared), self._batch):
            found += self._infer(prepared[first : first + self._batch])
        return found

    def _infer(self, some: Sequence[Ready]) -> list[Detections]:
        torch = self._device.torch
        with torch.inference_mode():
            planes = on_device(some, self._processor, self._device, self._batch)
            outputs = self._model(pixel_values=planes)
            sizes = [each.size for each in some] + [some[0].size] * (len(planes) - len(some))
            # In single precision, since half precision cannot resolve single pixels of a wide frame.
            outputs.logits, outputs.pred_boxes = outputs.logits.float(), outputs.pred_boxes.float()
            results = self._processor.post_process_object_detection(outputs, self._limits.min_score, sizes)
        return [found_on(each, size, self._limits) for each, size in zip(results, sizes[: len(some)], strict=False)]


def made_ready(frame: Bgr, processor: Any, device: Device) -> Ready:
    """Preprocess a frame with a processor; on a GPU only convert it to RGB, since the rest is done there."""
    size = (frame.shape[0], frame.shape[1])
    if device.on_gpu:
        return Ready(device.torch.from_numpy(as_rgb(frame)).permute(2, 0, 1), size)
    features = processor(images=as_rgb(frame), return_tensors="pt", input_data_format="channels_last")
    return Ready(features["pixel_values"][0], size)


def on_device(some: Sequence[Ready], processor: Any, device: Device, most: int) -> Any:
    """Return preprocessed frames as one batch, shape (B, 3, H, W), which is padded on a GPU."""
    if not device.on_gpu:
        return device.stacked([each.planes for each in some], most)
    there = [each.planes.pin_memory().to(device.name, non_blocking=True) for each in some]
    features = processor(images=there, return_tensors="pt", input_data_format="channels_first", device=device.name)
    return device.stacked(list(features["pixel_values"]), most)


def found_on(result: dict[str, Any], size: tuple[int, int], limits: Thresholds) -> Detections:
    """Convert the output of a transformers post-processor for a frame of (height, width), clipped to the frame."""
    corners, scores, labels = (result[name].cpu().numpy() for name in ("boxes", "scores", "labels"))
    corners = clip_corners(corners.astype(np.float32).reshape(-1, 4), size[1], size[0])
    found = Detections.of_corners(corners, scores.astype(np.float32), labels.astype(np.int64))
    n = limits.max_objects
    return Detections(found.boxes[:n], found.scores[:n], found.labels[:n])
