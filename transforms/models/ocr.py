"""Text detection and recognition by RapidOCR (PaddleOCR's models through ONNX Runtime, included in the package)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from annotated_types import Ge, Le

from transforms.frames.image import Color
from transforms.models.detect.detections import Detections, FrameKey, annotation_rows
from transforms.models.model_input import ModelInput

PACKAGES = ("rapidocr", "onnxruntime")


@dataclass(frozen=True)
class OcrParams:
    """Which text is kept, and on which frames it is searched.

    `min_score`: lowest score of a recognised line.
    `box_score`: lowest score of a detected line.
    `upside_down`: whether to detect lines that are upside down, which takes time.
    `frames`: `kept` runs on the frames that curation keeps, `all` on every frame that decodes.
    """

    min_score: Annotated[float, Ge(0), Le(1)] = 0.5
    box_score: Annotated[float, Ge(0), Le(1)] = 0.5
    upside_down: bool = False
    frames: Literal["kept", "all"] = "kept"


class TextLines(NamedTuple):
    """The lines of a frame in descending order of score: their boxes and their texts."""

    found: Detections
    texts: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.texts)


class TextReader:
    """Reads text on frames; an `inference.FrameModel`, with rows for the stage of this key.

    The box of a line is the smallest axis-aligned one around it.
    """

    short_side: int | None = None
    names: tuple[str, ...] = ("text",)
    source = "rapidocr"

    def __init__(self, params: OcrParams, model: str, weights_hash: str, stage_key: str, threads: int = 1) -> None:
        from rapidocr import RapidOCR

        self._params = params
        self._stage_key = stage_key
        self.model = model
        self.weights_hash: str | None = weights_hash
        self._engine: Any = RapidOCR(
            params={
                "Global.log_level": "error",
                "Global.text_score": params.min_score,
                "Global.use_cls": params.upside_down,
                "EngineConfig.onnxruntime.intra_op_num_threads": threads,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            }
        )

    def prepare(self, color: Color) -> Color:
        """Return the image unchanged: the engine preprocesses it."""
        return color

    def infer(self, prepared: Sequence[Color]) -> Sequence[TextLines]:
        """Return the text lines of each image."""
        return [self.read(picture) for picture in prepared]

    def read(self, picture: Color) -> TextLines:
        """Return the text lines of an (H, W, 3) uint8 BGR image."""
        output = self._engine(picture, box_thresh=self._params.box_score)
        if getattr(output, "boxes", None) is None or not output.txts:
            return TextLines(Detections.none(), ())
        scores = np.asarray(output.scores, np.float32)
        order = np.argsort(-scores, kind="stable")
        corners = upright(np.asarray(output.boxes, np.float32), picture.shape[1], picture.shape[0])
        order = order[(corners[order, 2:] > corners[order, :2]).all(axis=1)]
        found = Detections.of_corners(corners[order], scores[order], np.zeros(len(order), np.int64))
        return TextLines(found, tuple(str(output.txts[at]) for at in order))

    def rows(self, frames: pa.Table, results: Sequence[TextLines]) -> Mapping[str, pa.Table]:
        """Return the rows of `texts` and `ocr`."""
        columns = [frames[name].to_pylist() for name in ("stream_id", "frame_idx", "input_id")]
        keys = [FrameKey(*values) for values in zip(*columns, strict=True)]
        lines = annotation_rows(self, self._stage_key, keys, [each.found for each in results])
        texts = pa.array([text for each in results for text in each.texts], pa.string())
        read = frames.select(["input_id", "stream_id", "frame_idx"])
        return {
            "texts": lines.set_column(lines.schema.get_field_index("text"), "text", texts),
            "ocr": read.append_column("n_texts", pa.array([len(each) for each in results], pa.int64())),
        }


def upright(quads: npt.NDArray[np.float32], width: int, height: int) -> npt.NDArray[np.float32]:
    """Return left, top, right and bottom edges, (N, 4), around corners (N, 4, 2), in pixels, clipped to the frame."""
    edges = np.concatenate([quads.min(axis=1), quads.max(axis=1)], axis=1)
    return np.clip(edges, 0, np.array([width, height, width, height], np.float32))


def make_reader(given: ModelInput) -> Callable[[int], TextReader]:
    """Return what loads the reader, given the number of its threads."""
    weights = given.given_weights
    return partial(TextReader, given.params["ocr"], weights.name, weights.sha256, given.stage_key)
