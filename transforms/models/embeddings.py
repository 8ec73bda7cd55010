"""Embeddings: what a picture shows as a vector, by the image tower of an open-clip model."""

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
"""A vector of length 1, shape (D,)."""

Vectors = npt.NDArray[np.float32]
"""Vectors of length 1, shape (N, D)."""

PACKAGES = ("torch", "open_clip")


@dataclass(frozen=True)
class EmbedParams:
    """Which model makes vectors of pictures, and how it sees them.

    `weights`: a repository of the Hugging Face hub that holds an open-clip model, with `@REVISION` if not its newest; a
    folder with `open_clip_config.json` and the weights, as such a repository has them; or a file of weights.
    `model`: the architecture of a file of weights, by its name in open-clip (`ViT-B-32`); none for the others, which
    say it themselves.
    `precision`: what the model computes in. Half precision is for GPUs, where it is several times as fast.
    `fit`: how a picture comes to the model's square: `squash` shows all of it, `crop` its middle at its true shape (as
    open-clip's own preparation does, which hides 44 % of a 16:9 frame).
    `frames`: which frames get a vector: `all` that decode, or only those that are `kept`. The vectors are the same.
    """

    weights: str = "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"
    model: str | None = None
    precision: Literal["fp32", "fp16", "bf16"] = "fp32"
    fit: Literal["squash", "crop"] = "squash"
    frames: Literal["all", "kept"] = "all"


@dataclass(frozen=True)
class EmbedderSpec:
    """What an `Embedder` is made from: where its weights lie, their hash, and the parameters."""

    source: Path
    weights_hash: str
    params: EmbedParams


class Embedder:
    """An open-clip model, on a GPU where there is one; a `transforms.models.inference.FrameModel`."""

    def __init__(self, spec: EmbedderSpec, threads: int = 1) -> None:
        """Load the model, for so many threads. Raises what torch and open-clip raise for weights that do not fit."""
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
        """Return the side of the model's square, in pixels."""
        return max(self._height, self._width)

    def prepare(self, color: Color) -> Color:
        """Bring a picture to the model's size, shape (H, W, 3)."""
        return fitted(color, self._height, self._width, self._crops)

    def infer(self, prepared: Sequence[Color]) -> Sequence[Vector]:
        """Return the vector of each picture. Raises `ValueError` for vectors that are no numbers."""
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
    """Return a picture at (height, width): squashed to it, or with `crop` the middle part of that shape."""
    if crop:
        scale = min(color.shape[0] / height, color.shape[1] / width)
        rows, columns = round(height * scale), round(width * scale)
        top, left = (color.shape[0] - rows) // 2, (color.shape[1] - columns) // 2
        color = color[top : top + rows, left : left + columns]
    smaller = color.shape[0] >= height and color.shape[1] >= width
    return cv2.resize(color, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)


def vector_column(vectors: Vectors) -> pa.Array:
    """Return vectors as a column of lists."""
    n, length = vectors.shape
    offsets = pa.array(np.arange(0, n * length + 1, length, dtype=np.int32))
    return pa.ListArray.from_arrays(offsets, pa.array(vectors.reshape(-1), pa.float32()))


def vector_array(column: pa.ChunkedArray) -> Vectors:
    """Return a column of lists, all of one length, as an array, shape (N, D). Raises `ValueError` where they differ."""
    n = len(column)
    if not n:
        return np.empty((0, 0), np.float32)
    flat = np.concatenate([chunk.flatten().to_numpy() for chunk in column.chunks])
    if len(flat) % n or column.null_count:
        raise ValueError("vectors of one model have one length")
    return flat.reshape(n, -1)


def make_embedder(given: ModelInput) -> Callable[[int], Embedder]:
    """Return what loads the embedder, given the number of its threads."""
    weights = given.given_weights
    return partial(Embedder, EmbedderSpec(weights.path, weights.sha256, given.params["embed"]))
