"""Input and output conventions of exported detectors (YOLOX, D-FINE, end-to-end YOLO), one class each.

Each preprocesses a frame as its authors do for their published scores, and returns box edges in pixels of the frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from transforms.models.detect.detections import Bgr, Detections, Thresholds
from transforms.models.detect.letterbox import Fit, FloatArray, clip_corners, letterbox, non_max_suppression

LayoutName = Literal["yolox", "d-fine", "end-to-end"]
_YOLOX_STRIDES = (8, 16, 32)
_END_TO_END_COLUMNS = 6
_BOX_AND_OBJECTNESS = 5


class UnknownLayoutError(ValueError):
    """The inputs and outputs of a graph match no known convention."""


@dataclass(frozen=True)
class Port:
    """An input or output of a graph; a dimension is a number, or None if it is dynamic."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True)
class FittedFrame:
    """A preprocessed frame, shape (3, H, W), float32; how it was fitted into the input, and its own size in pixels."""

    tensor: FloatArray
    fit: Fit
    width: int
    height: int


class Layout(Protocol):
    """Interface of a convention."""

    @property
    def classes(self) -> int | None:
        """Number of classes of the graph, None if its outputs do not show it."""

    def prepare(self, frame: Bgr) -> FittedFrame:
        """Fit a frame into the model's input."""

    def feeds(self, images: FloatArray, prepared: Sequence[FittedFrame], /) -> dict[str, npt.NDArray[Any]]:
        """Return the graph's inputs by name for a batch of shape (B, 3, H, W)."""

    def read(self, outputs: Mapping[str, npt.NDArray[Any]], at: int, prepared: FittedFrame) -> Detections:
        """Return the objects on frame `at` of the batch from the graph's outputs."""


def _as_planes(picture: npt.NDArray[np.uint8]) -> FloatArray:
    return np.ascontiguousarray(picture.transpose(2, 0, 1)).astype(np.float32)


def _finished(corners: FloatArray, scores: FloatArray, labels: Any, frame: FittedFrame, most: int) -> Detections:
    found = Detections.of_corners(clip_corners(corners, frame.width, frame.height), scores, labels)
    return Detections(found.boxes[:most], found.scores[:most], found.labels[:most])


@dataclass(frozen=True)
class Yolox:
    """YOLOX, https://github.com/Megvii-BaseDetection/YOLOX: (B, A, 5 + classes) on grids of 8, 16 and 32 pixels.

    Input is BGR, 0..255, letterboxed with the image at the top left. A row has the centre as offset in cells, the
    logarithm of the size in cells, the objectness, and the score of each class.
    """

    image: str
    output: str
    size: tuple[int, int]
    limits: Thresholds
    classes: int | None = None

    def prepare(self, frame: Bgr) -> FittedFrame:
        """Fit a frame into the model's input."""
        canvas, fit = letterbox(frame, self.size, centred=False)
        return FittedFrame(_as_planes(canvas), fit, frame.shape[1], frame.shape[0])

    def feeds(self, images: FloatArray, _: Sequence[FittedFrame]) -> dict[str, npt.NDArray[Any]]:
        """Return the graph's inputs."""
        return {self.image: images}

    @cached_property
    def _grid(self) -> tuple[FloatArray, FloatArray]:
        """Return the grid cell of every row, shape (A, 2), and its side in pixels, shape (A, 1)."""
        cells, strides = [], []
        for stride in _YOLOX_STRIDES:
            across, down = self.size[0] // stride, self.size[1] // stride
            x, y = np.meshgrid(np.arange(across), np.arange(down))
            cells.append(np.stack([x.ravel(), y.ravel()], axis=1))
            strides.append(np.full((across * down, 1), stride))
        return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)

    def read(self, outputs: Mapping[str, npt.NDArray[Any]], at: int, prepared: FittedFrame) -> Detections:
        """Return the objects on a frame: the best class of each row, then non-maximum suppression by class."""
        rows = outputs[self.output][at]
        likely = np.flatnonzero(rows[:, 4] >= self.limits.min_score)
        rows = rows[likely]
        labels = rows[:, _BOX_AND_OBJECTNESS:].argmax(axis=1)
        scores = rows[:, 4] * rows[np.arange(len(rows)), _BOX_AND_OBJECTNESS + labels]
        sure = scores >= self.limits.min_score
        rows, labels, scores, likely = rows[sure], labels[sure], scores[sure], likely[sure]
        cells, strides = self._grid
        centre = (rows[:, :2] + cells[likely]) * strides[likely]
        half = np.exp(rows[:, 2:4]) * strides[likely] / 2
        corners = np.concatenate([centre - half, centre + half], axis=1)
        kept = non_max_suppression(corners, scores, labels, self.limits.nms_iou)
        back = prepared.fit.back(corners[kept])
        return _finished(back, scores[kept], labels[kept], prepared, self.limits.max_objects)


@dataclass(frozen=True)
class Dfine:
    """D-FINE and DEIM, https://github.com/Peterande/D-FINE: labels, box edges in pixels of a given size, and scores.

    Input is RGB, 0..1, resized to the input's size without keeping the aspect ratio, with antialiasing. No suppression
    is needed.
    """

    image: str
    sizes: str
    outputs: tuple[str, str, str]
    size: tuple[int, int]
    limits: Thresholds
    classes: None = None

    def prepare(self, frame: Bgr) -> FittedFrame:
        """Fit a frame into the model's input."""
        height, width = frame.shape[:2]
        picture = Image.fromarray(np.ascontiguousarray(frame[:, :, ::-1]))
        squeezed = np.asarray(picture.resize(self.size, Image.Resampling.BILINEAR))
        fit = Fit((self.size[0] / width, self.size[1] / height), 0, 0)
        return FittedFrame(_as_planes(squeezed) / np.float32(255), fit, width, height)

    def feeds(self, images: FloatArray, prepared: Sequence[FittedFrame]) -> dict[str, npt.NDArray[Any]]:
        """Return the graph's inputs: images, and the width and height in which boxes are to be given."""
        sizes = np.array([[p.width, p.height] for p in prepared], np.int64).reshape(-1, 2)
        return {self.image: images, self.sizes: np.resize(sizes, (len(images), 2))}

    def read(self, outputs: Mapping[str, npt.NDArray[Any]], at: int, prepared: FittedFrame) -> Detections:
        """Return the objects on a frame."""
        # Some exports omit the batch dimension if it is one.
        labels, corners, scores = (
            outputs[name][at] if outputs[name].ndim == rank else outputs[name]
            for name, rank in zip(self.outputs, (2, 3, 2), strict=True)
        )
        sure = scores >= self.limits.min_score
        return _finished(corners[sure], scores[sure], labels[sure], prepared, self.limits.max_objects)


@dataclass(frozen=True)
class EndToEnd:
    """YOLO26 and other Ultralytics exports without suppression: (B, 300, 6), box edges, score and class.

    Input is RGB, 0..1, letterboxed with the image in the centre; edges are in pixels of the input.
    """

    image: str
    output: str
    size: tuple[int, int]
    limits: Thresholds
    classes: None = None

    def prepare(self, frame: Bgr) -> FittedFrame:
        """Fit a frame into the model's input."""
        canvas, fit = letterbox(frame, self.size, centred=True)
        planes = _as_planes(canvas[:, :, ::-1]) / np.float32(255)
        return FittedFrame(planes, fit, frame.shape[1], frame.shape[0])

    def feeds(self, images: FloatArray, _: Sequence[FittedFrame]) -> dict[str, npt.NDArray[Any]]:
        """Return the graph's inputs."""
        return {self.image: images}

    def read(self, outputs: Mapping[str, npt.NDArray[Any]], at: int, prepared: FittedFrame) -> Detections:
        """Return the objects on a frame."""
        rows = outputs[self.output][at]
        rows = rows[rows[:, 4] >= self.limits.min_score]
        labels = rows[:, 5].astype(np.int64)
        return _finished(prepared.fit.back(rows[:, :4]), rows[:, 4], labels, prepared, self.limits.max_objects)


def recognise(
    inputs: Sequence[Port],
    outputs: Sequence[Port],
    limits: Thresholds,
    size: tuple[int, int] | None = None,
    forced: LayoutName | None = None,
) -> Layout:
    """Return the convention of a graph, detected from its inputs and outputs, or `forced`.

    `size` is the width and height of the input, for graphs in which it is dynamic. Raises `UnknownLayoutError` with
    what was expected and found.
    """
    name = forced or _layout_of(inputs, outputs)
    found = f"inputs {_listed(inputs)}, outputs {_listed(outputs)}"
    if name is None:
        raise UnknownLayoutError(
            "expected one output of (batch, rows, 5 + classes) as YOLOX has it or of (batch, rows, 6) as YOLO26 has it "
            f"end to end, or labels, boxes and scores as D-FINE has them; found {found}; name it with annotate.layout"
        )
    image = next((p for p in inputs if len(p.shape) == 4), None)
    if image is None:
        raise UnknownLayoutError(f"expected an input of (batch, 3, height, width), found {found}")
    height, width = image.shape[2:]
    if size is not None and any(own not in {None, asked} for own, asked in zip((width, height), size, strict=True)):
        raise UnknownLayoutError(
            f"input {image.name!r} has a fixed size of {width or '?'}x{height or '?'} pixels, but annotate.size "
            f"is {size[0]}x{size[1]}; remove annotate.size, or export the detector with that size"
        )
    if width and height:
        size = (width, height)
    if size is None:
        raise UnknownLayoutError(f"input {image.name!r} has a dynamic size; set annotate.size")
    if name == "d-fine":
        by_name = {p.name.lower(): p.name for p in outputs}
        sizes = next((p.name for p in inputs if p is not image), None)
        if sizes is None or not {"labels", "boxes", "scores"} <= set(by_name):
            raise UnknownLayoutError(
                f"expected two inputs, and outputs labels, boxes and scores, as D-FINE has them; found {found}"
            )
        return Dfine(image.name, sizes, (by_name["labels"], by_name["boxes"], by_name["scores"]), size, limits)
    if len(outputs) != 1 or len(outputs[0].shape) != 3:
        raise UnknownLayoutError(f"expected one output of three dimensions, as {name} has it; found {found}")
    rows, columns = outputs[0].shape[1:]
    if name == "end-to-end":
        if columns not in {None, _END_TO_END_COLUMNS}:
            raise UnknownLayoutError(
                f"expected an output of (batch, rows, 6), as YOLO26 has it end to end; found {found}"
            )
        return EndToEnd(image.name, outputs[0].name, size, limits)
    cells = _n_cells(size)
    if (columns is not None and columns <= _BOX_AND_OBJECTNESS) or rows not in {None, cells}:
        raise UnknownLayoutError(
            f"expected an output of (batch, {cells}, 5 + classes), a row for each cell, as YOLOX has it; found {found}"
        )
    return Yolox(image.name, outputs[0].name, size, limits, columns and columns - _BOX_AND_OBJECTNESS)


def _n_cells(size: tuple[int, int]) -> int:
    """Return the number of rows of YOLOX for an input of (width, height) pixels."""
    return sum((size[0] // stride) * (size[1] // stride) for stride in _YOLOX_STRIDES)


def _layout_of(inputs: Sequence[Port], outputs: Sequence[Port]) -> LayoutName | None:
    if len(inputs) == 2 and {"labels", "boxes", "scores"} <= {p.name.lower() for p in outputs}:
        return "d-fine"
    if len(inputs) != 1 or len(outputs) != 1 or len(outputs[0].shape) != 3:
        return None
    (rows, columns), image = outputs[0].shape[1:], inputs[0].shape
    sides = [side for side in image[2:] if side]
    # A YOLOX of one class has six columns too, but one row per cell.
    cells = _n_cells((sides[1], sides[0])) if len(sides) == 2 else None
    open_ = rows is None or cells is None
    if columns == _END_TO_END_COLUMNS and rows != cells:
        return "end-to-end"
    if columns is not None and columns > _BOX_AND_OBJECTNESS and (rows == cells or open_):
        return "yolox"
    return None


def _listed(ports: Sequence[Port]) -> str:
    return ", ".join(f"{p.name} ({', '.join('?' if d is None else str(d) for d in p.shape)})" for p in ports)
