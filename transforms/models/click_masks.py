"""Masks for points and boxes that somebody gives, by SAM 2 or SAM 3 of the transformers library.

An image is encoded once; each mask of it takes a small part of that time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from transforms.frames.image import Color
from transforms.models.detect.pretrained import made_ready, on_device
from transforms.models.torch_runtime import Device, Precision, load_pretrained, load_processor

CLICK_KINDS = {
    "sam2": "Sam2Model",
    "sam2_video": "Sam2Model",
    "sam3_tracker": "Sam3TrackerModel",
    "sam3_video": "Sam3TrackerModel",
}
"""The class for each model type that a folder's `config.json` may name."""

_PROCESSORS = {"Sam2Model": "Sam2Processor", "Sam3TrackerModel": "Sam3TrackerProcessor"}


class ImageEmbedding(NamedTuple):
    """What the model knows of an image: features at each of its levels; and height and width in pixels."""

    levels: Sequence[Any]
    size: tuple[int, int]


class PromptMask(NamedTuple):
    """A mask of the full frame as COCO's run lengths, and the quality that the model predicts of it, 0..1."""

    run_lengths: str
    score: float


class ClickSegmenter:
    """Segments what points and boxes are on."""

    def __init__(self, kind: str, folder: Path, precision: Precision = "auto", threads: int = 1) -> None:
        """Load a model of a class of `CLICK_KINDS`. Raises `ModelError` for a folder that does not contain it."""
        self._device = Device(precision, threads)
        self._processor = load_processor(_PROCESSORS[kind], folder)
        self._model = load_pretrained(kind, folder, self._device)

    @property
    def device(self) -> str:
        """Return where it runs: `cuda` or `cpu`."""
        return self._device.name

    def embed(self, color: Color) -> ImageEmbedding:
        """Encode a BGR image (H, W, 3)."""
        ready = made_ready(color, self._processor.image_processor, self._device)
        with self._device.torch.inference_mode():
            planes = on_device([ready], self._processor.image_processor, self._device, 1)
            return ImageEmbedding(self._model.get_image_embeddings(planes), ready.size)

    def mask(
        self,
        embedding: ImageEmbedding,
        points: Sequence[tuple[float, float]],
        labels: Sequence[int],
        box: tuple[float, float, float, float] | None = None,
    ) -> PromptMask | None:
        """Return the mask of one object; None where the model finds nothing there.

        `points`: x and y in pixels of the image, each with a label: 1 on the object, 0 not. `box`: left, top,
        width, height in pixels. One of both at least.
        """
        from pycocotools import mask as coded

        given: dict[str, Any] = {}
        if points:
            given |= {"input_points": [[[list(point) for point in points]]], "input_labels": [[list(labels)]]}
        if box is not None:
            left, top, width, height = box
            given["input_boxes"] = [[[left, top, left + width, top + height]]]
        size = [list(embedding.size)]
        prompts = self._processor(**given, original_sizes=size, return_tensors="pt")
        prompts.pop("original_sizes")
        moved = {name: value.to(self._device.name) for name, value in prompts.items()}
        for name in ("input_points", "input_boxes"):
            if name in moved:
                moved[name] = moved[name].to(self._device.dtype)
        # A single point may mean a thing or a part of it: of three masks, the one that the model prefers.
        is_ambiguous = box is None and len(points) == 1
        with self._device.torch.inference_mode():
            output = self._model(image_embeddings=embedding.levels, multimask_output=is_ambiguous, **moved)
            scores = output.iou_scores[0, 0].float()
            best = int(scores.argmax())
            low = output.pred_masks[0][:, best : best + 1].float()
            whole = self._processor.post_process_masks([low], size)[0]
        pixels = whole[0, 0].to(self._device.torch.uint8).cpu().numpy()
        if not pixels.any():
            return None
        counts = coded.encode(np.asfortranarray(pixels))["counts"].decode()
        return PromptMask(counts, float(np.clip(float(scores[best]), 0, 1)))
