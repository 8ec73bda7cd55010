"""Detectors exported to ONNX, run with ONNX Runtime without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from transforms.models.detect.category_names import COCO, names_in
from transforms.models.detect.detections import Bgr, Detections, FrameKey, Thresholds
from transforms.models.detect.layouts import FittedFrame, LayoutName, Port, recognise
from transforms.models.inference import ModelError, WrongModelError

_PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")


@dataclass(frozen=True)
class OnnxParams:
    """How an exported detector is run.

    `size` is width and height, for graphs in which they are dynamic; `names` empty takes those of the model, or COCO's.
    `batch`, the most frames at once if the graph's batch size is dynamic, affects the speed, not the result.
    """

    limits: Thresholds
    layout: LayoutName | None = None
    size: tuple[int, int] | None = None
    names: tuple[str, ...] = ()
    batch: int = 8


class OnnxDetector:
    """An exported detector of one of the conventions in `transforms.models.detect.layouts`.

    Batches are padded to few different sizes, so that the runtime does not plan a new one for the last frames: the
    graph's own size, or, if that is dynamic, the powers of two up to `params.batch`. Raises `ModelError` for graphs
    that cannot be used.
    """

    source = "onnx"

    def __init__(
        self, path: Path, params: OnnxParams, weights_hash: str | None = None, model: str = "", threads: int = 1
    ) -> None:
        self._session = _open(path, threads)
        inputs, outputs = _ports(self._session.get_inputs()), _ports(self._session.get_outputs())
        self.layout = recognise(inputs, outputs, params.limits, params.size, params.layout)
        metadata = self._session.get_modelmeta().custom_metadata_map
        own = names_in(metadata)
        self.licence: str | None = metadata.get("license") or None
        self.names = params.names or own or COCO
        _check_names(self.layout.classes or len(own) or None, params.names, own)
        self.model = model or path.stem
        self.weights_hash = weights_hash
        self._outputs = [p.name for p in outputs]
        image = next(p for p in inputs if len(p.shape) == 4)
        # A graph with one-dimensional labels was traced for a single image, with any input shape.
        flat = any(len(p.shape) == 1 for p in outputs)
        self.batch = 1 if flat else image.shape[0] or params.batch
        self._fixed = flat or image.shape[0] is not None
        self._half = image.dtype == "tensor(float16)"

    def __call__(self, frames: Sequence[Bgr], _: Sequence[FrameKey] = ()) -> list[Detections]:
        """Detect objects on (H, W, 3) uint8 BGR frames of any sizes."""
        return self.detect([self.prepare(frame) for frame in frames])

    def prepare(self, frame: Bgr) -> FittedFrame:
        """Fit a frame into the model's input; may be called in any thread."""
        return self.layout.prepare(frame)

    def detect(self, prepared: Sequence[FittedFrame]) -> list[Detections]:
        """Detect objects on preprocessed frames."""
        found: list[Detections] = []
        for first in range(0, len(prepared), self.batch):
            found += self._batch(prepared[first : first + self.batch])
        return found

    def _batch(self, some: Sequence[FittedFrame]) -> list[Detections]:
        size = self.batch if self._fixed else min(self.batch, 1 << (len(some) - 1).bit_length())
        if size == 1 and not self._half:
            # Avoids a copy, of 5 MB at 640 pixels.
            images = some[0].tensor[None]
        else:
            images = np.zeros((size, *some[0].tensor.shape), np.float16 if self._half else np.float32)
            for at, each in enumerate(some):
                images[at] = each.tensor
        results = self._session.run(self._outputs, self.layout.feeds(images, some))
        outputs = dict(zip(self._outputs, results, strict=True))
        found = [self.layout.read(outputs, at, each) for at, each in enumerate(some)]
        highest = max((int(each.labels.max()) for each in found if len(each)), default=-1)
        if highest >= len(self.names):
            # If there are too few names, the others may be wrong too, on every frame.
            raise WrongModelError(
                f"{self.model} found an object of class {highest}, counted from 0, but there are {len(self.names)} "
                "names; set annotate.names to a file with a name for each of its classes"
            )
        return found


def _open(path: Path, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Threads that spin while they wait for the next layer take cores from those that decode the next frames.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    there = onnxruntime.get_available_providers()
    try:
        return onnxruntime.InferenceSession(str(path), options, [p for p in _PROVIDERS if p in there])
    except Exception as error:
        # The runtime has an exception class for each of its status codes.
        raise ModelError(f"{path} is no ONNX model that can be used: {' '.join(str(error).split())}") from error


def _check_names(classes: int | None, given: Sequence[str], own: Sequence[str]) -> None:
    """Raise `ModelError` unless the number of names equals the number of classes, if the graph shows it."""
    names = given or own or COCO
    if classes in {None, len(names)}:
        return
    whose = "annotate.names has" if given else "its metadata have" if own else "nobody names them, and COCO has"
    raise ModelError(
        f"expected {classes} names, one for each class of the graph; {whose} {len(names)}; set annotate.names"
    )


def _ports(ports: Sequence[Any]) -> list[Port]:
    return [Port(p.name, tuple(d if isinstance(d, int) else None for d in p.shape), p.type) for p in ports]
