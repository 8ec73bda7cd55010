"""Torch runtime of a model process: device, precision, and loading of local weights."""

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
    """The device on which models of this process run (a GPU if there is one), and their precision."""

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
        """Return whether the device is a GPU."""
        return self.name == "cuda"

    def rows_of(self, n: int, most: int) -> int:
        """Return the padded size of a batch of `n`: on a GPU the next power of two up to `most`, to have few shapes.

        Not always the largest size, since a batch that does not fit into memory is retried in halves.
        """
        return min(most, 1 << (n - 1).bit_length()) if self.on_gpu else n

    def stacked(self, planes: Sequence[Any], most: int) -> Any:
        """Return tensors of one shape as one batch on the device, padded with zeros to `rows_of` rows."""
        torch = self.torch
        given = torch.stack(list(planes))
        short = self.rows_of(len(planes), most) - len(planes)
        if short > 0:
            given = torch.cat([given, given.new_zeros((short, *given.shape[1:]))])
        if self.on_gpu and given.device.type == "cpu":
            given = given.pin_memory().to(self.name, non_blocking=True)
        return given.to(self.dtype) if given.is_floating_point() else given


def as_rgb(frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Convert a BGR image (H, W, 3) to RGB."""
    return np.ascontiguousarray(frame[:, :, ::-1])


def load_pretrained(kind: str, folder: Path, device: Device) -> Any:
    """Load a model of a transformers class from a local folder, ready for inference.

    Pickled weights are read as tensors only. Raises `ModelError` if weights do not match: the library itself would fill
    missing ones with random numbers.
    """
    import transformers

    quiet()
    try:
        model, info = getattr(transformers, kind).from_pretrained(
            str(folder), local_files_only=True, dtype=device.dtype, output_loading_info=True, weights_only=True
        )
    except Exception as error:
        # The library and those below it raise many kinds of errors.
        raise ModelError(f"{folder} holds no {kind}: {' '.join(str(error).split())[:300]}") from error
    if missing := sorted(info["missing_keys"]):
        raise ModelError(f"{folder} holds no {kind}: {len(missing)} of its weights are missing, {missing[0]} for one")
    return model.eval().to(device.name)


def load_processor(kind: str, folder: Path) -> Any:
    """Load the processor (of images and texts) of a model from a local folder. Raises `ModelError`."""
    import transformers

    quiet()
    try:
        return getattr(transformers, kind).from_pretrained(str(folder), local_files_only=True)
    except Exception as error:
        raise ModelError(f"{folder} has no {kind}: {' '.join(str(error).split())[:300]}") from error


def quiet() -> None:
    """Keep transformers from printing to the terminal."""
    from transformers.utils import logging as spoken

    spoken.set_verbosity_error()
    spoken.disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)
