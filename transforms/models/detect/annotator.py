"""Adapters from detectors to the model interfaces of `inference`, with rows of `annotations` and `annotated`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from transforms.frames.image import Color
from transforms.models.detect.detections import (
    Detections,
    Detector,
    FrameKey,
    Thresholds,
    annotated_rows,
    annotation_rows,
)
from transforms.models.detect.layouts import FittedFrame
from transforms.models.detect.motion_boxes import MotionBoxParams, MotionDetector, MotionFrame
from transforms.models.detect.onnx import OnnxDetector, OnnxParams

Ready = TypeVar("Ready")


class FrameDetector(Detector, Protocol[Ready]):
    """A detector that processes frames independently, with a separate preprocessing step."""

    def prepare(self, frame: Color, /) -> Ready:
        """Preprocess a frame; called in threads."""

    def detect(self, prepared: Sequence[Ready], /) -> list[Detections]:
        """Detect objects on preprocessed frames."""


class Annotator(Generic[Ready]):
    """A detector as a `transforms.models.inference.FrameModel`, with rows for the stage of this key."""

    # Detectors get images at full size, at which their published scores are measured.
    short_side: int | None = None

    def __init__(self, detector: FrameDetector[Ready], stage_key: str) -> None:
        self._detector = detector
        self._stage_key = stage_key

    def prepare(self, color: Color) -> Ready:
        """Preprocess an image."""
        return self._detector.prepare(color)

    def infer(self, prepared: Sequence[Ready]) -> Sequence[Detections]:
        """Return the objects on each image."""
        return self._detector.detect(prepared)

    def rows(self, frames: pa.Table, results: Sequence[Detections]) -> Mapping[str, pa.Table]:
        """Return the rows of both tables."""
        return _rows(self._detector, self._stage_key, frames, results)


class MotionAnnotator:
    """The motion detector as a `transforms.models.inference.WindowedModel`, with rows for the stage of this key."""

    def __init__(self, params: MotionBoxParams, limits: Thresholds, stage_key: str, _threads: int = 1) -> None:
        self._detector = MotionDetector(params, limits)
        self._stage_key = stage_key

    @property
    def context(self) -> int:
        """Return from how many previous frames the background is computed."""
        return self._detector.context

    def prepare(self, color: Color) -> MotionFrame:
        """Preprocess an image."""
        return self._detector.prepare(color)

    def infer_windows(self, frames: pa.Table, prepared: Sequence[MotionFrame]) -> Sequence[Detections]:
        """Return the moving objects on each frame."""
        return self._detector.detect(prepared, frames["follows"].fill_null(False).to_numpy())

    def rows(self, frames: pa.Table, results: Sequence[Detections]) -> Mapping[str, pa.Table]:
        """Return the rows of both tables."""
        return _rows(self._detector, self._stage_key, frames, results)


def _keys(frames: pa.Table) -> list[FrameKey]:
    ids = pc.coalesce(frames["window_id"], frames["input_id"]).to_pylist()
    columns = [frames[name].to_pylist() for name in ("stream_id", "frame_idx")]
    return [FrameKey(*values) for values in zip(*columns, ids, strict=True)]


def _rows(
    detector: Detector, stage_key: str, frames: pa.Table, results: Sequence[Detections]
) -> Mapping[str, pa.Table]:
    keys = _keys(frames)
    return {
        "annotations": annotation_rows(detector, stage_key, keys, results),
        "annotated": annotated_rows(keys, results),
    }


@dataclass(frozen=True)
class Exported:
    """An exported detector that is not loaded yet."""

    weights: Path
    weights_hash: str
    model: str
    params: OnnxParams

    def load(self, threads: int = 1) -> OnnxDetector:
        """Load it with this number of threads. Raises `ModelError` and `UnknownLayoutError`."""
        return OnnxDetector(self.weights, self.params, self.weights_hash, self.model, threads)


def annotate_exported(exported: Exported, stage_key: str, threads: int) -> Annotator[FittedFrame]:
    """Load an exported detector for a model pass."""
    return Annotator(exported.load(threads), stage_key)


def annotate_with(
    detector: Callable[[Any, int], FrameDetector[Any]], spec: Any, key: str, threads: int
) -> Annotator[Any]:
    """Create a detector from its class and specification, for a model pass of the stage with this key."""
    return Annotator(detector(spec, threads), key)
