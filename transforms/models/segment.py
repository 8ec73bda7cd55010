"""Instance masks for detected boxes, by SAM 2 of the transformers library."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

import schemas
from transforms.frames.image import Color
from transforms.models.detect.pretrained import Ready, made_ready, on_device
from transforms.models.model_input import ModelInput
from transforms.models.torch_runtime import Device, Precision, load_pretrained, load_processor

KINDS = {"sam2": "Sam2Model", "sam2_video": "Sam2Model"}
"""The class for each model type that a folder's `config.json` may name."""

PACKAGES = ("pycocotools",)

_BOXES_AT_ONCE = 16
"""Boxes per call, since masks of the full frame are large: at 720p 1 MB each, 4 MB before thresholding."""


@dataclass(frozen=True)
class SegmentParams:
    """Which model makes masks for boxes.

    `segmenter`: `sam2` runs SAM 2 with transformers, `sam2-package` with the package of its makers.
    `weights`: a folder as transformers writes it (also searched below `$WINNOW_WEIGHTS`), a name that `winnow models
    list` shows, or a repository of the Hugging Face hub; for `sam2-package` a checkpoint of its makers: a name, or a
    file `NAME.pt` (with its configuration next to it as `NAME.yaml`, unless it has one of the published sizes).
    `precision`: floating-point format of the model; `auto` takes half precision on a GPU, single otherwise.
    """

    segmenter: Literal["sam2", "sam2-package"] = "sam2"
    weights: str = "sam2-tiny"
    precision: Precision = "auto"


@dataclass(frozen=True)
class SegmenterSpec:
    """A segmenter that is not loaded yet. `batch`, the most frames at once, affects the speed, not the masks."""

    kind: str
    folder: Path
    model: str
    weights_hash: str
    params: SegmentParams
    batch: int = 8


class Prompted(NamedTuple):
    """A preprocessed frame, the ids of its objects, and their edges: left, top, right, bottom, (N, 4) in pixels."""

    ready: Ready
    ids: tuple[str, ...]
    corners: npt.NDArray[np.float32]


class Masks(NamedTuple):
    """The objects of a frame that have a mask: ids, COCO run lengths, and the quality that the model predicts, 0..1."""

    ids: tuple[str, ...]
    run_lengths: tuple[str, ...]
    scores: npt.NDArray[np.float32]


class Segmenter:
    """Segments objects from their boxes; a `transforms.models.inference.FrameModel` that gets each frame's objects.

    Frames are encoded in batches; the masks of a frame's boxes are decoded together, from one encoding.
    """

    short_side: int | None = None

    def __init__(self, spec: SegmenterSpec, threads: int = 1) -> None:
        """Load the model, with this number of threads. Raises `ModelError` for a folder that does not contain it."""
        self._spec = spec
        self._device = Device(spec.params.precision, threads)
        self._processor = load_processor("Sam2Processor", spec.folder)
        self._model = load_pretrained(spec.kind, spec.folder, self._device)

    def prepare(self, color: Color, objects: Sequence[Mapping[str, Any]] = ()) -> Prompted:
        """Preprocess an image, with its objects."""
        edges = np.array([[o["x"], o["y"], o["x"] + o["w"], o["y"] + o["h"]] for o in objects], np.float32)
        ready = made_ready(color, self._processor.image_processor, self._device)
        return Prompted(ready, tuple(o["annotation_id"] for o in objects), edges.reshape(-1, 4))

    def infer(self, prepared: Sequence[Prompted]) -> Sequence[Masks]:
        """Return the masks of each frame."""
        torch = self._device.torch
        with torch.inference_mode():
            planes = on_device(
                [each.ready for each in prepared], self._processor.image_processor, self._device, self._spec.batch
            )
            embeddings = self._model.get_image_embeddings(planes)
            return [self._masks([level[at : at + 1] for level in embeddings], each) for at, each in enumerate(prepared)]

    def _masks(self, embeddings: list[Any], frame: Prompted) -> Masks:
        from pycocotools import mask as coded

        ids: list[str] = []
        texts: list[str] = []
        scores: list[float] = []
        size = [list(frame.ready.size)]
        for first in range(0, len(frame.ids), _BOXES_AT_ONCE):
            corners = frame.corners[first : first + _BOXES_AT_ONCE]
            prompts = self._processor(input_boxes=[corners.tolist()], original_sizes=size, return_tensors="pt")
            boxes = prompts["input_boxes"].to(self._device.name, self._device.dtype)
            output = self._model(image_embeddings=embeddings, input_boxes=boxes, multimask_output=False)
            whole = self._processor.post_process_masks([output.pred_masks[0].float()], size)[0]
            pictures = whole[:, 0].to(self._device.torch.uint8).cpu().numpy()
            for at, picture in enumerate(pictures):
                if picture.any():
                    ids.append(frame.ids[first + at])
                    texts.append(coded.encode(np.asfortranarray(picture))["counts"].decode())
                    scores.append(float(output.iou_scores[0, at, 0]))
        return Masks(tuple(ids), tuple(texts), np.clip(np.array(scores, np.float32), 0, 1))

    def rows(self, frames: pa.Table, results: Sequence[Masks]) -> Mapping[str, pa.Table]:
        """Return the rows of `masks` and `segmented`."""
        counts = np.array([len(each.ids) for each in results], np.int64)
        own = pc.coalesce(frames["window_id"], frames["input_id"])
        segmented = pa.table({"input_id": own, "stream_id": frames["stream_id"], "frame_idx": frames["frame_idx"]})
        masks = segmented.take(pa.array(np.repeat(np.arange(len(results)), counts)))
        n = masks.num_rows
        columns = {
            "annotation_id": pa.array([name for each in results for name in each.ids], pa.string()),
            "mask_rle": pa.array([text for each in results for text in each.run_lengths], pa.string()),
            "mask_score": pa.array(np.concatenate([*(each.scores for each in results), np.empty(0, np.float32)])),
            "source": pa.array([self._spec.params.segmenter] * n, pa.string()),
            "model": pa.array([self._spec.model] * n, pa.string()),
            "weights_hash": pa.array([self._spec.weights_hash] * n, pa.string()),
        }
        for name, column in columns.items():
            masks = masks.append_column(name, column)
        masks = masks.select(schemas.MASKS.file_schema.names)
        return {"masks": masks, "segmented": segmented.append_column("n_masks", pa.array(counts))}


def make_segmenter(given: ModelInput) -> Callable[[int], Segmenter]:
    """Return what loads the segmenter, given the number of its threads."""
    weights, params = given.given_weights, given.params["segment"]
    spec = SegmenterSpec(weights.kind, weights.path, weights.name, weights.sha256, params, given.batch)
    return partial(Segmenter, spec)
