"""Image captions by a BLIP model of the transformers library."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa
from annotated_types import Ge, Le

from transforms.frames.image import Color
from transforms.models.detect.pretrained import Ready, made_ready, on_device
from transforms.models.model_input import ModelInput
from transforms.models.torch_runtime import Device, Precision, load_pretrained, load_processor

KINDS = {"blip": "BlipForConditionalGeneration"}
"""The class for each model type that a folder's `config.json` may name."""


@dataclass(frozen=True)
class CaptionParams:
    """Which model writes captions, and of which frames.

    `weights`: a folder as transformers writes it (also searched below `$WINNOW_WEIGHTS`), a name that `winnow models
    list` shows, or a repository of the Hugging Face hub.
    `prompt`: how every caption begins; none leaves that to the model.
    `beams`: beam width of the search; 1 takes the most likely word at each step.
    `max_words`: the most tokens (words or parts of words) that the model adds.
    `precision`: floating-point format of the model; `auto` takes half precision on a GPU, single otherwise.
    `frames`: `kept` runs on the frames that curation keeps, `all` on every frame that decodes.
    """

    weights: str = "blip-base"
    prompt: str | None = None
    beams: Annotated[int, Ge(1), Le(16)] = 3
    max_words: Annotated[int, Ge(1), Le(256)] = 30
    precision: Precision = "auto"
    frames: Literal["kept", "all"] = "kept"


@dataclass(frozen=True)
class CaptionerSpec:
    """A captioner that is not loaded yet. `batch`, the most frames at once, affects the speed, not the captions."""

    kind: str
    folder: Path
    model: str
    weights_hash: str
    params: CaptionParams
    batch: int = 8


class Captioner:
    """Writes captions of frames; a `transforms.models.inference.FrameModel`. Deterministic for a given frame."""

    short_side: int | None = None

    def __init__(self, spec: CaptionerSpec, threads: int = 1) -> None:
        """Load the model, with this number of threads. Raises `ModelError` for a folder that does not contain it."""
        self._spec = spec
        self._device = Device(spec.params.precision, threads)
        self._processor = load_processor("AutoProcessor", spec.folder)
        self._model = load_pretrained(spec.kind, spec.folder, self._device)

    def prepare(self, color: Color) -> Ready:
        """Preprocess an image."""
        return made_ready(color, self._processor.image_processor, self._device)

    def infer(self, prepared: Sequence[Ready]) -> Sequence[str]:
        """Return the caption of each image."""
        torch, params = self._device.torch, self._spec.params
        with torch.inference_mode():
            planes = on_device(prepared, self._processor.image_processor, self._device, self._spec.batch)
            begun = self._begun(len(planes))
            words = self._model.generate(
                pixel_values=planes,
                **begun,
                max_new_tokens=params.max_words,
                num_beams=params.beams,
                do_sample=False,
            )
        texts = self._processor.batch_decode(words, skip_special_tokens=True)
        return [" ".join(text.split()) for text in texts[: len(prepared)]]

    def _begun(self, n: int) -> dict[str, Any]:
        if self._spec.params.prompt is None:
            return {}
        words = self._processor.tokenizer([self._spec.params.prompt] * n, return_tensors="pt")
        return {name: words[name].to(self._device.name) for name in ("input_ids", "attention_mask")}

    def rows(self, frames: pa.Table, results: Sequence[str]) -> Mapping[str, pa.Table]:
        """Return the rows of `captions`."""
        n = len(results)
        rows = frames.select(["input_id", "stream_id", "frame_idx"])
        rows = rows.append_column("caption", pa.array(results, pa.string()))
        rows = rows.append_column("caption_model", pa.array([self._spec.model] * n, pa.string()))
        return {"captions": rows.append_column("caption_weights", pa.array([self._spec.weights_hash] * n, pa.string()))}


def make_captioner(given: ModelInput) -> Callable[[int], Captioner]:
    """Return what loads the captioner, given the number of its threads."""
    weights, params = given.given_weights, given.params["caption"]
    spec = CaptionerSpec(weights.kind, weights.path, weights.name, weights.sha256, params, given.batch)
    return partial(Captioner, spec)
