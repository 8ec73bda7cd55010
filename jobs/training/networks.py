"""Networks that can be trained, by what `--model` names: detectors of torchvision, and of the transformers library.

Each is wrapped so that `transformers.Trainer` trains it: images and objects in, a loss out. What is written is a folder
that the detectors of `annotate` read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from conf.model_catalogue import catalogue
from jobs.core.errors import UserError, one_line
from jobs.core.optional_packages import missing
from jobs.models import weight_folders
from jobs.models.locations import places_of
from jobs.models.weights_store import pulled
from transforms.frames.image import Color
from transforms.models.detect import torchvision_models
from transforms.models.detect.detections import Detections
from transforms.models.detect.letterbox import clip_corners
from transforms.models.detect.pretrained import KINDS
from transforms.models.detect.torchvision_models import ARCHITECTURES, TorchvisionConfig
from transforms.models.inference import ModelError

EXTRA = "train"
LIBRARIES = ("accelerate", "pycocotools", "safetensors", "torch", "torchvision", "transformers")
PREFIX = f"{torchvision_models.MODEL_TYPE}:"
_RATES = {"torchvision": 2e-3, "transformers": 1e-4, "from nothing": 1e-3}
TORCHVISION_LICENCE = "BSD-3-Clause"
TRAINABLE = "d-fine"
"""The detector of those weights of the catalogue that can be trained."""

_MOST_FOUND = 100
_LEAST_SCORE = 0.001


@dataclass(frozen=True)
class Base:
    """What a training starts from, checked and not loaded.

    `kind`: `torchvision` or `transformers`. `architecture`: its name for the first, the class for the second. `folder`:
    where its configuration is; None for an architecture of torchvision, whose weights begin at random. `has_weights`:
    whether the weights of the folder are taken. `sha256` of that folder, empty for none. `licence` is inherited.
    """

    named: str
    kind: str
    architecture: str
    folder: Path | None
    has_weights: bool
    sha256: str
    licence: str

    @property
    def detector(self) -> str:
        """Return the detector that runs what is trained, as `annotate.detector` names it."""
        return "torchvision" if self.kind == "torchvision" else TRAINABLE

    @property
    def learning_rate(self) -> float:
        """Return the rate that suits it, where none is set."""
        return _RATES[self.kind if self.kind == "torchvision" or self.has_weights else "from nothing"]


def base_of(named: str) -> Base:
    """Return what `--model` names. Raises `UserError` with all problems, and the command that helps."""
    if problems := missing(EXTRA, *LIBRARIES):
        raise UserError(problems)
    if named.startswith(PREFIX):
        architecture = named.removeprefix(PREFIX)
        if architecture not in ARCHITECTURES:
            raise UserError(f"--model {named}: expected torchvision:NAME with NAME one of {', '.join(ARCHITECTURES)}")
        return Base(named, "torchvision", architecture, None, False, "", TORCHVISION_LICENCE)
    if named in catalogue():
        model = catalogue()[named]
        if model.detector != TRAINABLE:
            raise UserError(f"--model {named}: it cannot be trained; {_expected()}")
        weights = pulled(named)
        return _of_folder(named, weights.path, model.licence)
    for place in places_of(named):
        if place.is_dir():
            return _of_folder(named, place, weight_folders.licence_in(place))
    raise UserError(f"--model {named}: {_expected()}")


def _expected() -> str:
    trainable = [model.name for model in catalogue().values() if model.detector == TRAINABLE]
    return (
        f"expected {PREFIX}NAME with NAME one of {', '.join(ARCHITECTURES)}; one of {', '.join(trainable)}; or a "
        "folder as transformers writes it"
    )


def _of_folder(named: str, place: Path, licence: str | None) -> Base:
    try:
        said = json.loads((place / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"--model {named}: expected config.json in {place}: {one_line(error)}") from error
    kind = str(said.get("model_type")) if isinstance(said, dict) else ""
    has_weights = any(file.name.endswith((".safetensors", ".bin")) for file in weight_folders.files(place))
    sha256 = weight_folders.digest(place)
    if kind == torchvision_models.MODEL_TYPE:
        try:
            architecture = TorchvisionConfig.read(place).architecture
        except ModelError as error:
            raise UserError(f"--model {named}: {error}") from error
        return Base(named, "torchvision", architecture, place, has_weights, sha256, licence or TORCHVISION_LICENCE)
    if kind not in KINDS:
        known = [torchvision_models.MODEL_TYPE, *KINDS]
        raise UserError(f"--model {named}: expected a model of type {', '.join(known)}, found {kind or 'none'}")
    if has_weights:
        weight_folders.config_of(place)
    return Base(named, "transformers", KINDS[kind], place, has_weights, sha256, licence or "not stated")


class Network(Protocol):
    """A network in training."""

    module: Any
    """A torch module: `module(images=..., objects=...)` returns a mapping with the key `loss`."""

    def batch(self, images: Sequence[Color], boxes: Sequence[Any], labels: Sequence[Any]) -> dict[str, Any]:
        """Return images (H, W, 3) uint8 BGR with boxes (N, 4) of corners and labels (N,) as what `module` takes."""

    def find(self, images: Sequence[Color]) -> list[Detections]:
        """Return the objects on images, in evaluation mode."""

    def save(self, folder: Path) -> None:
        """Write the network as it is now into an empty folder."""


def network_of(base: Base, classes: Sequence[str], size: int) -> Network:
    """Return the network to train for these classes, on torch's device; a seed of torch decides its random weights."""
    if base.kind == "torchvision":
        return _Torchvision(base, classes, size)
    return _Transformer(base, classes, size)


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


class _Torchvision:
    """A detector of torchvision."""

    def __init__(self, base: Base, classes: Sequence[str], size: int) -> None:
        import torch
        from torch import nn

        self._torch = torch
        self.config = TorchvisionConfig(base.architecture, tuple(classes), size)
        network = torchvision_models.build(self.config, _LEAST_SCORE, _MOST_FOUND)
        if base.folder is not None and base.has_weights:
            before, config = torchvision_models.load(base.folder)
            _take_over(network, before.state_dict(), same_classes=config.names == self.config.names)

        class Training(nn.Module):
            """Adds up the losses of the network, which it returns in training mode alone."""

            def __init__(self) -> None:
                super().__init__()
                self.network = network

            def forward(self, images: Sequence[Any], objects: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
                losses = self.network(list(images), [dict(each) for each in objects])
                return {"loss": sum(losses.values())}

        self.module: Any = Training().to(_device())

    def batch(self, images: Sequence[Color], boxes: Sequence[Any], labels: Sequence[Any]) -> dict[str, Any]:
        """Return what `module` takes."""
        torch = self._torch
        objects = [
            {"boxes": torch.from_numpy(corners), "labels": torch.from_numpy(numbers + 1)}
            for corners, numbers in zip(boxes, labels, strict=True)
        ]
        return {"images": [torchvision_models.planes_of(image, torch) for image in images], "objects": objects}

    def find(self, images: Sequence[Color]) -> list[Detections]:
        """Return the objects on images."""
        network, device = self.module.network.eval(), _device()
        found = []
        with self._torch.inference_mode():
            for image in images:
                (output,) = network([torchvision_models.planes_of(image, self._torch).to(device)])
                found.append(torchvision_models.found_on(output, (image.shape[0], image.shape[1])))
        return found

    def save(self, folder: Path) -> None:
        """Write the network."""
        torchvision_models.save(folder, self.module.network, self.config)


def _take_over(network: Any, weights: Mapping[str, Any], same_classes: bool) -> None:
    """Load weights of the same shape; those that name classes only where the classes are the same."""
    own = network.state_dict()
    heads = ("roi_heads.box_predictor", "head.classification_head.cls_logits")
    taken = {
        name: tensor
        for name, tensor in weights.items()
        if name in own and own[name].shape == tensor.shape and (same_classes or not name.startswith(heads))
    }
    network.load_state_dict(taken, strict=False)


class _Transformer:
    """A detector of the transformers library, with the preprocessing of its own image processor."""

    def __init__(self, base: Base, classes: Sequence[str], size: int) -> None:
        import torch
        import transformers
        from torch import nn

        from transforms.models.torch_runtime import quiet

        quiet()
        assert base.folder is not None, base
        self._torch = torch
        names = dict(enumerate(classes))
        numbers = {name: number for number, name in names.items()}
        kind = getattr(transformers, base.architecture)
        try:
            self._processor = transformers.AutoImageProcessor.from_pretrained(str(base.folder), local_files_only=True)
            if base.has_weights:
                self._model = kind.from_pretrained(
                    str(base.folder),
                    local_files_only=True,
                    weights_only=True,
                    id2label=names,
                    label2id=numbers,
                    ignore_mismatched_sizes=True,
                    dtype=torch.float32,
                )
            else:
                config = transformers.AutoConfig.from_pretrained(
                    str(base.folder), local_files_only=True, id2label=names, label2id=numbers
                )
                self._model = kind(config)
        except Exception as error:
            # The library and those below it raise many kinds of errors.
            raise UserError(f"--model {base.named}: {one_line(error)[:300]}") from error
        self._processor.size = {"height": size, "width": size}
        model = self._model

        class Training(nn.Module):
            """Passes on what the model's own loss is computed from."""

            def __init__(self) -> None:
                super().__init__()
                self.network = model

            def forward(self, images: Any, objects: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
                return {"loss": self.network(pixel_values=images, labels=list(objects)).loss}

        self.module: Any = Training().to(_device())

    def batch(self, images: Sequence[Color], boxes: Sequence[Any], labels: Sequence[Any]) -> dict[str, Any]:
        """Return what `module` takes: centres and sizes as shares of width and height."""
        torch = self._torch
        objects = []
        for image, corners, numbers in zip(images, boxes, labels, strict=True):
            sides = np.array([image.shape[1], image.shape[0]], np.float32)
            middles = (corners[:, :2] + corners[:, 2:]) / 2 / sides
            wide = (corners[:, 2:] - corners[:, :2]) / sides
            shares: npt.NDArray[np.float32] = np.concatenate([middles, wide], axis=1).astype(np.float32)
            objects.append({"boxes": torch.from_numpy(shares), "class_labels": torch.from_numpy(numbers)})
        return {"images": self._planes(images), "objects": objects}

    def _planes(self, images: Sequence[Color]) -> Any:
        rgb = [np.ascontiguousarray(image[:, :, ::-1]) for image in images]
        return self._processor(images=rgb, return_tensors="pt", input_data_format="channels_last")["pixel_values"]

    def find(self, images: Sequence[Color]) -> list[Detections]:
        """Return the objects on images."""
        model, device = self._model.eval(), _device()
        sizes = [(image.shape[0], image.shape[1]) for image in images]
        with self._torch.inference_mode():
            outputs = model(pixel_values=self._planes(images).to(device))
        results = self._processor.post_process_object_detection(outputs, _LEAST_SCORE, sizes)
        found = []
        for each, (height, width) in zip(results, sizes, strict=True):
            corners, scores, labels = (each[name].cpu().numpy() for name in ("boxes", "scores", "labels"))
            corners = clip_corners(corners.astype(np.float32).reshape(-1, 4), width, height)
            some = Detections.of_corners(corners, scores.astype(np.float32), labels.astype(np.int64))
            top = slice(0, _MOST_FOUND)
            found.append(Detections(some.boxes[top], some.scores[top], some.labels[top]))
        return found

    def save(self, folder: Path) -> None:
        """Write the network, and the settings of its preprocessing."""
        self._model.save_pretrained(str(folder), safe_serialization=True)
        self._processor.save_pretrained(str(folder))
