"""Instance masks for detected boxes, by SAM 2 of the package `sam2`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from transforms.frames.image import Color
from transforms.models.detect.pretrained import Ready
from transforms.models.model_input import ModelInput
from transforms.models.sam2_package import configuration_of, load_model, precision_of
from transforms.models.segment import Masks, Prompted, Segmenter, SegmenterSpec
from transforms.models.torch_runtime import Device, as_rgb

_BOXES_AT_ONCE = 16
_LABELS = (2, 3)
"""What the prompt encoder calls the first and the last corner of a box."""


class PackageSegmenter(Segmenter):
    """Segments objects from their boxes; masks are those of `SAM2ImagePredictor`, one for each box."""

    def __init__(self, spec: SegmenterSpec, threads: int = 1) -> None:
        """Load the model, with this number of threads. Raises `ModelError` for a file that does not contain it."""
        from sam2.utils.transforms import SAM2Transforms

        self._spec = spec
        self._device = Device(spec.params.precision, threads)
        self._model = load_model(spec.folder, configuration_of(spec.folder), self._device, video=False)
        self._transforms = SAM2Transforms(self._model.image_size, mask_threshold=0.0)

    def prepare(self, color: Color, objects: Sequence[Mapping[str, Any]] = ()) -> Prompted:
        """Preprocess an image, with its objects."""
        edges = np.array([[o["x"], o["y"], o["x"] + o["w"], o["y"] + o["h"]] for o in objects], np.float32)
        ready = Ready(self._transforms(as_rgb(color)), (color.shape[0], color.shape[1]))
        return Prompted(ready, tuple(o["annotation_id"] for o in objects), edges.reshape(-1, 4))

    def infer(self, prepared: Sequence[Prompted]) -> Sequence[Masks]:
        """Return the masks of each frame."""
        torch, model = self._device.torch, self._model
        with torch.inference_mode(), precision_of(self._device):
            planes = torch.stack([each.ready.planes for each in prepared]).to(self._device.name)
            _, features, _, sizes = model._prepare_backbone_features(model.forward_image(planes))  # noqa: SLF001
            if model.directly_add_no_mem_embed:
                features[-1] = features[-1] + model.no_mem_embed
            levels = [
                feature.permute(1, 2, 0).view(len(prepared), -1, *size)
                for feature, size in zip(features, sizes, strict=True)
            ]
            return [self._masks([level[at : at + 1] for level in levels], each) for at, each in enumerate(prepared)]

    def _masks(self, embeddings: list[Any], frame: Prompted) -> Masks:
        from pycocotools import mask as coded

        ids: list[str] = []
        texts: list[str] = []
        scores: list[float] = []
        for first in range(0, len(frame.ids), _BOXES_AT_ONCE):
            masks, qualities = self._decoded(embeddings, frame, slice(first, first + _BOXES_AT_ONCE))
            for at, (mask, quality) in enumerate(zip(masks, qualities, strict=True)):
                if mask.any():
                    ids.append(frame.ids[first + at])
                    texts.append(coded.encode(np.asfortranarray(mask))["counts"].decode())
                    scores.append(quality)
        return Masks(tuple(ids), tuple(texts), np.clip(np.array(scores, np.float32), 0, 1))

    def _decoded(self, embeddings: list[Any], frame: Prompted, some: slice) -> tuple[Any, list[float]]:
        """Return masks of some boxes, (N, H, W) uint8, and their qualities."""
        torch, model = self._device.torch, self._model
        corners = torch.from_numpy(frame.corners[some]).to(self._device.name)
        boxes = self._transforms.transform_boxes(corners, normalize=True, orig_hw=frame.ready.size)
        labels = torch.tensor([_LABELS] * len(boxes), dtype=torch.int, device=self._device.name)
        sparse, dense = model.sam_prompt_encoder(points=(boxes, labels), boxes=None, masks=None)
        small, qualities, _, _ = model.sam_mask_decoder(
            image_embeddings=embeddings[-1],
            image_pe=model.sam_prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=False,
            repeat_image=len(boxes) > 1,
            high_res_features=embeddings[:-1],
        )
        whole = self._transforms.postprocess_masks(small, frame.ready.size) > 0
        return whole[:, 0].to(torch.uint8).cpu().numpy(), qualities[:, 0].float().tolist()


def make_package_segmenter(given: ModelInput) -> Callable[[int], PackageSegmenter]:
    """Return what loads the segmenter, given the number of its threads."""
    weights, params = given.given_weights, given.params["segment"]
    spec = SegmenterSpec(weights.kind, weights.path, weights.name, weights.sha256, params, given.batch)
    return partial(PackageSegmenter, spec)
