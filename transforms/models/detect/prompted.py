"""Open-vocabulary detectors of the transformers library, prompted with phrases: OWLv2 and SAM 3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from transforms.models.detect.detections import Bgr, Detections, FrameKey, Thresholds
from transforms.models.detect.letterbox import clip_corners
from transforms.models.detect.pretrained import PretrainedSpec, Ready, found_on, made_ready, on_device
from transforms.models.torch_runtime import Device, load_pretrained, load_processor

OWL_KINDS = {"owlv2": "Owlv2ForObjectDetection"}
SAM3_KINDS = {"sam3": "Sam3Model", "sam3_video": "Sam3Model"}
"""The class for each model type that a folder's `config.json` may name."""

_MASK_FROM = 0.5
_MASKS_AT_ONCE = 16


class Owl:
    """OWLv2: boxes for phrases; each box is labelled with its best-fitting phrase.

    Raises `ModelError` for a folder that does not contain the model.
    """

    def __init__(self, spec: PretrainedSpec, threads: int = 1) -> None:
        self._device = Device(spec.precision, threads)
        self._processor = load_processor("Owlv2Processor", spec.folder)
        self._model = load_pretrained(spec.kind, spec.folder, self._device)
        self._limits, self._batch = spec.limits, spec.batch
        self._words = self._processor(text=[list(spec.names)], return_tensors="pt").to(self._device.name)
        self.names, self.source, self.model = spec.names, spec.source, spec.model
        self.weights_hash: str | None = spec.weights_hash

    def __call__(self, frames: Sequence[Bgr], _: Sequence[FrameKey] = ()) -> list[Detections]:
        """Detect objects on (H, W, 3) uint8 BGR frames of any sizes."""
        return self.detect([self.prepare(frame) for frame in frames])

    def prepare(self, frame: Bgr) -> Ready:
        """Preprocess a frame; may be called in any thread."""
        return made_ready(frame, self._processor.image_processor, self._device)

    def detect(self, prepared: Sequence[Ready]) -> list[Detections]:
        """Detect objects on preprocessed frames."""
        found: list[Detections] = []
        for first in range(0, len(prepared), self._batch):
            found += self._infer(prepared[first : first + self._batch])
        return found

    def _infer(self, some: Sequence[Ready]) -> list[Detections]:
        with self._device.torch.inference_mode():
            planes = on_device(some, self._processor.image_processor, self._device, self._batch)
            # The model needs one copy of the phrases per frame.
            words = {name: self._words[name].repeat(len(planes), 1) for name in ("input_ids", "attention_mask")}
            outputs = self._model(pixel_values=planes, **words)
            sizes = [each.size for each in some] + [some[0].size] * (len(planes) - len(some))
            outputs.logits, outputs.pred_boxes = outputs.logits.float(), outputs.pred_boxes.float()
            results = self._processor.image_processor.post_process_object_detection(
                outputs, self._limits.min_score, sizes
            )
        return [found_on(each, size, self._limits) for each, size in zip(results, sizes[: len(some)], strict=False)]


class Sam3:
    """SAM 3: boxes and masks for phrases. A frame is encoded once, and then searched for each phrase.

    Raises `ModelError` for a folder that does not contain the model.
    """

    def __init__(self, spec: PretrainedSpec, threads: int = 1) -> None:
        self._device = Device(spec.precision, threads)
        self._processor = load_processor("Sam3Processor", spec.folder)
        self._model = load_pretrained(spec.kind, spec.folder, self._device)
        self._limits, self._batch = spec.limits, spec.batch
        self.names, self.source, self.model = spec.names, spec.source, spec.model
        self.weights_hash: str | None = spec.weights_hash
        self._phrases = [self._asked(phrase) for phrase in spec.names]

    def _asked(self, phrase: str) -> tuple[Any, Any]:
        """Return the text features of a phrase, and its attention mask."""
        # The length to which the library itself pads every phrase.
        words = self._processor.tokenizer(phrase, return_tensors="pt", padding="max_length", max_length=32)
        words = {name: words[name].to(self._device.name) for name in ("input_ids", "attention_mask")}
        with self._device.torch.inference_mode():
            return self._model.get_text_features(**words, return_dict=True), words["attention_mask"]

    def __call__(self, frames: Sequence[Bgr], _: Sequence[FrameKey] = ()) -> list[Detections]:
        """Detect objects on (H, W, 3) uint8 BGR frames of any sizes."""
        return self.detect([self.prepare(frame) for frame in frames])

    def prepare(self, frame: Bgr) -> Ready:
        """Preprocess a frame; may be called in any thread."""
        return made_ready(frame, self._processor.image_processor, self._device)

    def detect(self, prepared: Sequence[Ready]) -> list[Detections]:
        """Detect objects on preprocessed frames, one by one, since masks need much memory."""
        return [self._infer(each) for each in prepared]

    def _infer(self, frame: Ready) -> Detections:
        with self._device.torch.inference_mode():
            planes = on_device([frame], self._processor.image_processor, self._device, 1)
            embeddings = self._model.get_vision_features(planes)
            found = [self._find(label, embeddings, frame.size) for label in range(len(self.names))]
        return surest(found, self._limits)

    def _find(self, label: int, embeddings: Any, size: tuple[int, int]) -> Detections:
        words, mask = self._phrases[label]
        output = self._model(vision_embeds=embeddings, text_embeds=words, attention_mask=mask)
        scores = output.pred_logits.float().sigmoid()
        if output.presence_logits is not None:
            scores = scores * output.presence_logits.float().sigmoid()
        keep = scores[0] > self._limits.min_score
        scores, edges = scores[0][keep].cpu().numpy(), output.pred_boxes[0][keep].float().cpu().numpy()
        height, width = size
        corners = clip_corners((edges * [width, height, width, height]).astype(np.float32), width, height)
        solid = (corners[:, 2:] - corners[:, :2]).min(axis=1) > 0
        texts = run_lengths(output.pred_masks[0][keep].float(), size, self._device)
        order = [int(at) for at in np.argsort(-scores, kind="stable") if solid[at]][: self._limits.max_objects]
        plain = Detections.of_corners(corners[order], scores[order], np.full(len(order), label, np.int64))
        return Detections(plain.boxes, plain.scores, plain.labels, tuple(texts[at] for at in order))


def run_lengths(logits: Any, size: tuple[int, int], device: Device) -> list[str]:
    """Return the COCO run lengths, over a frame of (height, width), of N masks given as logits, (N, h, w)."""
    from pycocotools import mask as coded

    texts: list[str] = []
    for first in range(0, len(logits), _MASKS_AT_ONCE):
        some = logits[first : first + _MASKS_AT_ONCE].sigmoid()
        large = device.torch.nn.functional.interpolate(some[None], size=size, mode="bilinear", align_corners=False)[0]
        pictures = (large > _MASK_FROM).to(device.torch.uint8).cpu().numpy()
        texts += [coded.encode(np.asfortranarray(picture))["counts"].decode() for picture in pictures]
    return texts


def surest(found: Sequence[Detections], limits: Thresholds) -> Detections:
    """Return the merged detections of several searches of one frame, in descending order of score."""
    scores = np.concatenate([each.scores for each in found])
    order = np.argsort(-scores, kind="stable")[: limits.max_objects]
    masks = [mask for each in found for mask in each.masks]
    return Detections(
        np.concatenate([each.boxes for each in found])[order],
        scores[order],
        np.concatenate([each.labels for each in found])[order],
        tuple(masks[at] for at in order.tolist()),
    )
