"""SAM 2 as its makers publish it: checkpoints (`.pt`) of the package `sam2`, next to the folders of transformers.

The architecture is one of the package's own configurations, recognised by the weights, or a YAML file next to the
checkpoint. Classes outside of the package are not made from such a file, and pickled weights are read as tensors only.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from transforms.frames.image import Color
from transforms.models.inference import ModelError
from transforms.models.torch_runtime import Device, as_rgb

PACKAGES = ("torch", "torchvision", "sam2")

# Widths and numbers of blocks of the published image encoders: letters of their configurations.
_SIZES = {(96, 12): "t", (96, 16): "s", (112, 24): "b+", (144, 48): "l"}
# What `build_sam2` sets besides: the single mask falls back to one of three where it is not stable.
_STABLE = {
    "dynamic_multimask_via_stability": True,
    "dynamic_multimask_stability_delta": 0.05,
    "dynamic_multimask_stability_thresh": 0.98,
}
_VIDEO = {
    "_target_": "sam2.sam2_video_predictor.SAM2VideoPredictor",
    "binarize_mask_from_pts_for_mem_enc": True,
    # Holes are filled by an extension for CUDA alone: without, a result does not depend on how the package was built.
    "fill_hole_area": 0,
}
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def configuration_of(checkpoint: Path) -> Path:
    """Return the configuration of a checkpoint: `NAME.yaml` next to `NAME.pt`, or the package's own.

    Raises `ModelError` for files that are no checkpoints of SAM 2.
    """
    beside = checkpoint.with_suffix(".yaml")
    if beside.is_file():
        return beside
    weights = _weights_of(checkpoint)
    blocks = {name.split(".")[3] for name in weights if name.startswith("image_encoder.trunk.blocks.")}
    first = weights.get("image_encoder.trunk.patch_embed.proj.weight")
    size = _SIZES.get((0 if first is None else len(first), len(blocks)))
    if size is None:
        found = "no image encoder of SAM 2" if first is None else f"{len(blocks)} blocks of width {len(first)}"
        raise ModelError(
            f"{checkpoint}: expected a checkpoint of SAM 2 in one of its published sizes, found {found}; put its "
            f"configuration next to it, as {beside.name}"
        )
    release = "sam2.1" if "no_obj_embed_spatial" in weights else "sam2"
    import sam2

    return Path(sam2.__path__[0]) / "configs" / release / f"{release}_hiera_{size}.yaml"


def load_model(checkpoint: Path, configuration: Path, device: Device, video: bool) -> Any:
    """Load a model for images, or the predictor for `video`, ready for inference in single precision.

    Raises `ModelError` if the configuration cannot be used, or the weights are not those of its model.
    """
    from omegaconf import OmegaConf

    try:
        given = OmegaConf.to_container(OmegaConf.load(configuration), resolve=True)
        settings = dict(given["model"])
    except Exception as error:
        # Parsers raise errors of many kinds.
        raise ModelError(f"{configuration} is no configuration of SAM 2: {_line(error)}") from error
    own = settings.get("sam_mask_decoder_extra_args") or {}
    settings |= {"compile_image_encoder": False, "sam_mask_decoder_extra_args": {**own, **_STABLE}}
    if video:
        settings |= _VIDEO
        _keep_quiet()
    try:
        model = _made(settings)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"{configuration}: no model can be made of it: {_line(error)}") from error
    _fill(model, _weights_of(checkpoint), f"{checkpoint} does not fit {configuration.name}")
    return model.eval().to(device.name)


def _fill(model: Any, weights: Mapping[str, Any], problem: str) -> None:
    try:
        missing, others = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise ModelError(f"{problem}: {_line(error)}") from error
    if wrong := [*missing, *others]:
        raise ModelError(f"{problem}: {len(missing)} weights missing, {len(others)} unknown, {wrong[0]} for one")


def square(color: Color, side: int) -> Any:
    """Return an (H, W, 3) uint8 BGR frame as the video predictor reads its files: (3, side, side) float32."""
    import torch
    from PIL import Image

    resized = np.array(Image.fromarray(as_rgb(color)).resize((side, side))) / 255.0
    planes = torch.from_numpy(resized).permute(2, 0, 1).to(torch.float32)
    mean, std = (torch.tensor(values, dtype=torch.float32)[:, None, None] for values in (_MEAN, _STD))
    return (planes - mean) / std


def precision_of(device: Device) -> Any:
    """Return the context in which a model computes: in the device's precision, where that is not single."""
    half = device.dtype != device.torch.float32
    return device.torch.autocast(device.name, dtype=device.dtype if half else None, enabled=half)


def _weights_of(checkpoint: Path) -> Mapping[str, Any]:
    """Return the weights of a checkpoint by name; they are mapped into memory, not read."""
    import torch

    try:
        found = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:
        raise ModelError(f"{checkpoint} is no checkpoint of torch: {_line(error)}") from error
    weights = found.get("model") if isinstance(found, Mapping) else None
    if not isinstance(weights, Mapping):
        raise ModelError(f"{checkpoint}: expected the weights of SAM 2 under 'model', as its makers publish them")
    return weights


def _made(node: Any) -> Any:
    """Make what a node of a configuration describes; an object where it names a class of the package."""
    if isinstance(node, list):
        return [_made(each) for each in node]
    if not isinstance(node, dict):
        return node
    parts = {name: _made(part) for name, part in node.items() if name != "_target_"}
    if "_target_" not in node:
        return parts
    target = str(node["_target_"])
    if not target.startswith("sam2."):
        raise ModelError(f"_target_: expected a class of the package sam2, found {target}")
    module, _, name = target.rpartition(".")
    return getattr(importlib.import_module(module), name)(**parts)


def _keep_quiet() -> None:
    """Have the predictor print no progress bar for each frame."""
    from sam2 import sam2_video_predictor

    sam2_video_predictor.tqdm = lambda frames, **_: frames


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
