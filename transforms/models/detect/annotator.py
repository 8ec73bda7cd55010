"""Detectors as model passes know them: frames in, rows of `annotations` and `annotated` out."""

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
    """A detector that looks at frames one by one, and can make them ready beforehand."""

    def prepare(self, frame: Color, /) -> Ready:
        """Make a frame ready; called in threads."""

    def detect(self, prepared: Sequence[Ready], /) -> list[Detections]:
        """Look at frames that were made ready."""


class Annotator(Generic[Ready]):
    """A detector as a `transforms.models.inference.FrameModel`, whose rows are of the stage with this key."""

    # Published figures are of pictures at their full size.
    short_side: int | None = None

    def __init__(self, detector: FrameDetector[Ready], stage_key: str) -> None:
        self._detector = detector
        self._stage_key = stage_key

    def prepare(self, color: Color) -> Ready:
        """Make a picture ready."""
        return self._detector.prepare(color)

    def infer(self, prepared: Sequence[Ready]) -> Sequence[Detections]:
        """Return what is on each picture."""
        return self._detector.detect(prepared)

    def rows(self, frames: pa.Table, results: Sequence[Detections]) -> Mapping[str, pa.Table]:
        """Return the rows of both tables."""
        return _rows(self._detector, self._stage_key, frames, results)


class MotionAnnotator:
    """What moves, as a `transforms.models.inference.WindowedModel`, whose rows are of the stage with this key."""

    def __init__(self, params: MotionBoxParams, limits: Thresholds, stage_key: str, _threads: int = 1) -> None:
        self._detector = MotionDetector(params, limits)
        self._stage_key = stage_key

    @property
    def context(self) -> int:
        """Return how many frames before each make its background."""
        return self._detector.context

    def prepare(self, color: Color) -> MotionFrame:
        """Make a picture ready."""
        return self._detector.prepare(color)

    def infer_windows(self, frames: pa.Table, prepared: Sequence[MotionFrame]) -> Sequence[Detections]:
        """Return what moves on each frame."""
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
        """Load it, for so many threads. Raises `ModelError` and `UnknownLayoutError`."""
        return OnnxDetector(self.weights, self.params, self.weights_hash, self.model, threads)


def annotate_exported(exported: Exported, stage_key: str, threads: int) -> Annotator[FittedFrame]:
    """Load an exported detector for a model pass."""
    return Annotator(exported.load(threads), stage_key)


def annotate_with(
    detector: Callable[[Any, int], FrameDetector[Any]], spec: Any, key: str, threads: int
) -> Annotator[Any]:
    """Load a detector of some class from what it is made of, for a model pass of the stage with this key."""
    return Annotator(detector(spec, threads), key)
