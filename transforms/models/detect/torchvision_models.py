"""Detectors of torchvision: the architectures that `winnow train` trains, and their inference."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from transforms.models.detect.detections import Bgr, Detections, FrameKey
from transforms.models.detect.letterbox import clip_corners
from transforms.models.detect.pretrained import PretrainedSpec
from transforms.models.inference import ModelError
from transforms.models.torch_runtime import Device, as_rgb

MODEL_TYPE = "torchvision"
"""What the `config.json` of a folder with such weights names as its type."""

KINDS = {MODEL_TYPE: "TorchvisionDetector"}
"""The class for each model type that a folder's `config.json` may name."""

TINY = "fasterrcnn-tiny"
_CONFIG, _WEIGHTS = "config.json", "model.safetensors"
_LEAST_SCORE = 0.05
"""Below it torchvision itself drops boxes while it is trained; inference takes the threshold that is set."""

_POOLED, _HEAD = 5, 256

ARCHITECTURES: Mapping[str, str | None] = {
    TINY: None,
    "fasterrcnn-mobilenet": "fasterrcnn_mobilenet_v3_large_fpn",
    "fasterrcnn-resnet50": "fasterrcnn_resnet50_fpn_v2",
    "retinanet-resnet50": "retinanet_resnet50_fpn_v2",
    "fcos-resnet50": "fcos_resnet50_fpn",
}
"""Architectures by name, and what torchvision calls them; None for one with a backbone of ours."""


@dataclass(frozen=True)
class TorchvisionConfig:
    """What a detector is, besides its weights: architecture, categories in order, and the longest side in pixels."""

    architecture: str
    names: tuple[str, ...]
    size: int

    @classmethod
    def read(cls, folder: Path) -> TorchvisionConfig:
        """Read it from the `config.json` of a folder. Raises `ModelError` for one that is of something else."""
        try:
            said = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
            names = {int(number): str(name) for number, name in said["id2label"].items()}
            found = cls(str(said["architecture"]), tuple(names[n] for n in sorted(names)), int(said["size"]))
            kind = said["model_type"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"{folder / _CONFIG} is no configuration of a detector of torchvision: {error}") from error
        if kind != MODEL_TYPE or found.architecture not in ARCHITECTURES or not found.names:
            raise ModelError(f"{folder / _CONFIG}: expected one of {', '.join(ARCHITECTURES)}, with names")
        return found

    def write(self, folder: Path) -> None:
        """Write it as the `config.json` of a folder."""
        values: dict[str, Any] = asdict(self)
        values["id2label"] = {str(at): name for at, name in enumerate(values.pop("names"))}
        (folder / _CONFIG).write_text(json.dumps({"model_type": MODEL_TYPE, **values}, indent=1, sort_keys=True) + "\n")


def build(config: TorchvisionConfig, min_score: float = _LEAST_SCORE, most: int = 100) -> Any:
    """Return the network of a configuration with random weights, which a seed of torch decides.

    The network takes a list of (3, H, W) float RGB images from 0 to 1, which it scales so that the longest side has
    `config.size` pixels; class 0 is the background, and class n + 1 the n-th name.
    """
    from torchvision.models import get_model

    library = ARCHITECTURES[config.architecture]
    sides = {"min_size": config.size, "max_size": config.size}
    classes = len(config.names) + 1
    if library is None:
        return _tiny(classes, sides, min_score, most)
    prefix = "" if "fasterrcnn" not in library else "box_"
    limits = {f"{prefix}score_thresh": min_score, f"{prefix}detections_per_img": most}
    return get_model(library, weights=None, weights_backbone=None, num_classes=classes, **sides, **limits)


def _tiny(classes: int, sides: Mapping[str, int], min_score: float, most: int) -> Any:
    """Return a Faster R-CNN with a backbone of four stages, 2.5 million weights, for few and small images.

    Tried on 48 generated images from nothing, with the same seconds: batch normalisation learns several times faster
    than group normalisation, and a head of 256 values generalises as well as one of 1,024.
    """
    from torch import nn
    from torchvision.models.detection import FasterRCNN
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
    from torchvision.models.detection.rpn import AnchorGenerator
    from torchvision.ops import MultiScaleRoIAlign

    layers: list[nn.Module] = []
    channels = 3
    # The last stage keeps its resolution, an eighth: objects in small images are small.
    for wide, stride in ((32, 2), (64, 2), (128, 2), (192, 1)):
        for step in (stride, 1):
            layers += [nn.Conv2d(channels, wide, 3, step, padding=1, bias=False), nn.BatchNorm2d(wide), nn.ReLU()]
            channels = wide
    backbone: Any = nn.Sequential(*layers)
    backbone.out_channels = channels
    return FasterRCNN(
        backbone,
        box_head=TwoMLPHead(channels * _POOLED**2, _HEAD),
        box_predictor=FastRCNNPredictor(_HEAD, classes),
        rpn_anchor_generator=AnchorGenerator(sizes=((12, 24, 48, 96, 192),), aspect_ratios=((0.5, 1.0, 2.0),)),
        box_roi_pool=MultiScaleRoIAlign(featmap_names=["0"], output_size=_POOLED, sampling_ratio=2),
        rpn_batch_size_per_image=64,
        box_batch_size_per_image=64,
        rpn_pre_nms_top_n_train=500,
        rpn_post_nms_top_n_train=200,
        rpn_pre_nms_top_n_test=500,
        rpn_post_nms_top_n_test=200,
        box_score_thresh=min_score,
        box_detections_per_img=most,
        **sides,
    )


def load(folder: Path, min_score: float = _LEAST_SCORE, most: int = 100) -> tuple[Any, TorchvisionConfig]:
    """Return the network of a folder with its weights, and its configuration. Raises `ModelError`."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    config = TorchvisionConfig.read(folder)
    network = build(config, min_score, most)
    try:
        network.load_state_dict(load_file(folder / _WEIGHTS))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ModelError(f"{folder} holds no {config.architecture}: {' '.join(str(error).split())[:300]}") from error
    return network, config


def save(folder: Path, network: Any, config: TorchvisionConfig) -> None:
    """Write a network as a folder, as `load` reads it: tensors alone, in one order."""
    from safetensors.torch import save_file

    config.write(folder)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(network.state_dict().items())}
    save_file(state, folder / _WEIGHTS, metadata={"format": "pt"})


class Planes(NamedTuple):
    """A preprocessed frame: RGB from 0 to 1, (3, H, W) float32, and its height and width."""

    planes: Any
    size: tuple[int, int]


class TorchvisionDetector:
    """A detector of torchvision with the library's own resizing and suppression.

    Raises `ModelError` for a folder that does not contain such a model.
    """

    def __init__(self, spec: PretrainedSpec, threads: int = 1) -> None:
        self._device = Device(spec.precision, threads)
        network, config = load(spec.folder, spec.limits.min_score, spec.limits.max_objects)
        # Suppression and box decoding do not hold in half precision.
        self._network = network.eval().to(self._device.name)
        self._limits = spec.limits
        self._batch = spec.batch
        self.names = spec.names or config.names
        self.source = spec.source
        self.model = spec.model
        self.weights_hash: str | None = spec.weights_hash

    def __call__(self, frames: Sequence[Bgr], _: Sequence[FrameKey] = ()) -> list[Detections]:
        """Detect objects on (H, W, 3) uint8 BGR frames of any sizes."""
        return self.detect([self.prepare(frame) for frame in frames])

    def prepare(self, frame: Bgr) -> Planes:
        """Preprocess a frame; may be called in any thread."""
        return Planes(planes_of(frame, self._device.torch), (frame.shape[0], frame.shape[1]))

    def detect(self, prepared: Sequence[Planes]) -> list[Detections]:
        """Detect objects on preprocessed frames."""
        found: list[Detections] = []
        with self._device.torch.inference_mode():
            for some in self._batches(prepared):
                outputs = self._network([each.planes.to(self._device.name) for each in some])
                found += [found_on(out, each.size) for out, each in zip(outputs, some, strict=True)]
        return found

    def _batches(self, prepared: Sequence[Planes]) -> Iterator[list[Planes]]:
        """Yield consecutive frames of one size: the network pads a batch, which would change what is found."""
        for _, same in groupby(prepared, key=lambda each: each.size):
            some = list(same)
            yield from (some[first : first + self._batch] for first in range(0, len(some), self._batch))


def planes_of(frame: Bgr, torch: Any) -> Any:
    """Return a (H, W, 3) uint8 BGR frame as the network takes it: RGB from 0 to 1, (3, H, W) float32."""
    return torch.from_numpy(as_rgb(frame)).permute(2, 0, 1).float().div_(255)


def found_on(output: Mapping[str, Any], size: tuple[int, int]) -> Detections:
    """Convert the output of a network for a frame of (height, width); its class 0 is the background."""
    corners, scores, labels = (output[name].cpu().numpy() for name in ("boxes", "scores", "labels"))
    corners = clip_corners(corners.astype(np.float32).reshape(-1, 4), size[1], size[0])
    return Detections.of_corners(corners, scores.astype(np.float32), labels.astype(np.int64) - 1)
