"""Image embeddings by the image encoder of an open-clip model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa

import schemas
from transforms.frames.image import Color
from transforms.models.model_input import ModelInput

Vector = npt.NDArray[np.float32]
"""A vector of length 1, shape (D,), float32."""

Vectors = npt.NDArray[np.float32]
"""Vectors of length 1, shape (N, D), float32."""

PACKAGES = ("torch", "open_clip")


@dataclass(frozen=True)
class EmbedParams:
    """Which model computes embeddings, and how images are preprocessed.

    `weights`: a repository of the Hugging Face hub with an open-clip model, with `@REVISION` unless the newest; a
    folder with `open_clip_config.json` and the weights, as in such a repository; or a weights file.
    `model`: the architecture of a weights file, by its name in open-clip (`ViT-B-32`); none for the others, which state
    it themselves.
    `precision`: floating-point format of the model. Half precision is for GPUs, where it is several times as fast.
    `fit`: how an image is fitted into the model's square: `squash` resizes all of it, `crop` takes its centre with the
    aspect ratio kept (as open-clip's own preprocessing does, which hides 44 % of a 16:9 frame).
    `frames`: which frames get a vector: `all` that decode, or only those that are `kept`. The vectors are the same.
    """

    weights: str = "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"
    model: str | None = None
    precision: Literal["fp32", "fp16", "bf16"] = "fp32"
    fit: Literal["squash", "crop"] = "squash"
    frames: Literal["all", "kept"] = "all"


@dataclass(frozen=True)
class EmbedderSpec:
    """What an `Embedder` is made from: path of the weights, their hash, and the parameters."""

    source: Path
    weights_hash: str
    params: EmbedParams


class Embedder:
    """An open-clip model, on a GPU if there is one; a `transforms.models.inference.FrameModel`."""

    def __init__(self, spec: EmbedderSpec, threads: int = 1) -> None:
        """Load the model, with this number of threads. Raises errors of torch and open-clip for unsuitable weights."""
        import open_clip
        import torch

        torch.set_num_threads(threads)
        self._torch = torch
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        name = f"local-dir:{spec.source}" if spec.source.is_dir() else spec.params.model
        file = None if spec.source.is_dir() else str(spec.source)
        self._model = open_clip.create_model(
            name, pretrained=file, precision=spec.params.precision, device=self._device, require_pretrained=True
        )
        self._model.eval()
        self._dtype = open_clip.get_input_dtype(spec.params.precision) or torch.float32
        self._label = f"{spec.params.model or 'open_clip'}@{spec.weights_hash[:16]}"
        config: dict[str, Any] = self._model.visual.preprocess_cfg
        size: int | Sequence[int] = config["size"]
        self._height, self._width = (size, size) if isinstance(size, int) else (size[0], size[1])
        self._crops = spec.params.fit == "crop"
        shape = (1, 3, 1, 1)
        self._mean = torch.tensor(config["mean"], device=self._device).reshape(shape) * 255
        self._deviation = torch.tensor(config["std"], device=self._device).reshape(shape) * 255

    @property
    def short_side(self) -> int:
        """Return the side of the model's input, in pixels."""
        return max(self._height, self._width)

    def prepare(self, color: Color) -> Color:
        """Resize an image to the model's input, shape (H, W, 3)."""
        return fitted(color, self._height, self._width, self._crops)

    def infer(self, prepared: Sequence[Color]) -> Sequence[Vector]:
        """Return the vector of each image. Raises `ValueError` for vectors that are not finite."""
        torch = self._torch
        given = torch.from_numpy(np.stack(prepared))
        if self._device == "cuda":
            given = given.pin_memory().to(self._device, non_blocking=True)
        with torch.inference_mode():
            planes = given.flip(-1).permute(0, 3, 1, 2).to(torch.float32)
            normalised = ((planes - self._mean) / self._deviation).to(self._dtype)
            vectors = self._model.encode_image(normalised).to(torch.float32)
            vectors = torch.nn.functional.normalize(vectors, dim=-1).cpu().numpy()
        if not np.isfinite(vectors).all():
            raise ValueError("the model returned numbers that are not finite; try embed.precision=fp32")
        return list(vectors)

    def rows(self, frames: pa.Table, results: Sequence[Vector]) -> Mapping[str, pa.Table]:
        """Return the rows of `embeddings`."""
        columns = {name: frames[name] for name in (*schemas.FRAME_KEY, "input_id")}
        columns["model"] = pa.repeat(pa.scalar(self._label), frames.num_rows)
        columns["vector"] = vector_column(np.stack(results))
        names = schemas.EMBEDDINGS.file_schema.names
        return {"embeddings": pa.table(columns).select(names).cast(schemas.EMBEDDINGS.file_schema)}


def fitted(color: Color, height: int, width: int, crop: bool) -> Color:
    """Return an image of (height, width): resized to it, or with `crop` the centre part of that aspect ratio."""
    if crop:
        scale = min(color.shape[0] / height, color.shape[1] / width)
        rows, columns = round(height * scale), round(width * scale)
        top, left = (color.shape[0] - rows) // 2, (color.shape[1] - columns) // 2
        color = color[top : top + rows, left : left + columns]
    smaller = color.shape[0] >= height and color.shape[1] >= width
    return cv2.resize(color, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)


def vector_column(vectors: Vectors) -> pa.Array:
    """Return (N, D) float32 vectors as an Arrow column of lists."""
    n, length = vectors.shape
    offsets = pa.array(np.arange(0, n * length + 1, length, dtype=np.int32))
    return pa.ListArray.from_arrays(offsets, pa.array(vectors.reshape(-1), pa.float32()))


def vector_array(column: pa.ChunkedArray) -> Vectors:
    """Return a column of equally long lists as an array, (N, D), float32. Raises `ValueError` if lengths differ."""
    n = len(column)
    if not n:
        return np.empty((0, 0), np.float32)
    flat = np.concatenate([chunk.flatten().to_numpy() for chunk in column.chunks])
    if len(flat) % n or column.null_count:
        raise ValueError("expected vectors of one length, found nulls or several lengths")
    return flat.reshape(n, -1)


def make_embedder(given: ModelInput) -> Callable[[int], Embedder]:
    """Return what loads the embedder, given the number of its threads."""
    weights = given.given_weights
    return partial(Embedder, EmbedderSpec(weights.path, weights.sha256, given.params["embed"]))
