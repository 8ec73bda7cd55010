"""Torch in a process that holds a model: which device, which precision, and weights that lie in a folder."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from transforms.models.inference import ModelError

Precision = Literal["auto", "fp32", "fp16", "bf16"]


class Device:
    """Where models of this process compute, and in what: the GPU if there is one, with half precision unless told."""

    def __init__(self, precision: Precision = "auto", threads: int = 1) -> None:
        import torch

        torch.set_num_threads(threads)
        self.torch = torch
        self.name = "cuda" if torch.cuda.is_available() else "cpu"
        kinds = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
        kinds["auto"] = torch.float16 if self.name == "cuda" else torch.float32
        self.dtype = kinds[precision]

    @property
    def on_gpu(self) -> bool:
        """Say whether it is a GPU."""
        return self.name == "cuda"

    def rows_of(self, n: int, most: int) -> int:
        """Return how many rows a batch of `n` is filled up to: on a GPU a power of two, so that shapes are few.

        Not the largest shape, since a batch that did not fit into memory comes again in halves.
        """
        return min(most, 1 << (n - 1).bit_length()) if self.on_gpu else n

    def stacked(self, planes: Sequence[Any], most: int) -> Any:
        """Return tensors of one shape as one batch on the device, filled up with zeros to `rows_of` rows."""
        torch = self.torch
        given = torch.stack(list(planes))
        short = self.rows_of(len(planes), most) - len(planes)
        if short > 0:
            given = torch.cat([given, given.new_zeros((short, *given.shape[1:]))])
        if self.on_gpu and given.device.type == "cpu":
            given = given.pin_memory().to(self.name, non_blocking=True)
        return given.to(self.dtype) if given.is_floating_point() else given


def as_rgb(frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return a picture (H, W, 3), blue first, with red first."""
    return np.ascontiguousarray(frame[:, :, ::-1])


def load_pretrained(kind: str, folder: Path, device: Device) -> Any:
    """Return the model of a class of transformers whose weights lie in a folder, ready to be asked.

    Pickled weights are read as tensors and nothing else. Raises `ModelError` for what does not fit: the library itself
    would fill what is missing with random numbers.
    """
    import transformers

    quiet()
    try:
        model, info = getattr(transformers, kind).from_pretrained(
            str(folder), local_files_only=True, dtype=device.dtype, output_loading_info=True, weights_only=True
        )
    except Exception as error:
        # Errors of many kinds, of the library and of those below it.
        raise ModelError(f"{folder} holds no {kind}: {' '.join(str(error).split())[:300]}") from error
    if missing := sorted(info["missing_keys"]):
        raise ModelError(f"{folder} holds no {kind}: {len(missing)} of its weights are missing, {missing[0]} for one")
    return model.eval().to(device.name)


def load_processor(kind: str, folder: Path) -> Any:
    """Return what makes pictures, and words, ready for a model in a folder. Raises `ModelError`."""
    import transformers

    quiet()
    try:
        return getattr(transformers, kind).from_pretrained(str(folder), local_files_only=True)
    except Exception as error:
        raise ModelError(f"{folder} has no {kind}: {' '.join(str(error).split())[:300]}") from error


def quiet() -> None:
    """Keep transformers from writing to the terminal."""
    from transformers.utils import logging as spoken

    spoken.set_verbosity_error()
    spoken.disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)
