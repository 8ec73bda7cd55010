"""Torch models that a configuration names, with weights, type and licence checked before any work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conf import PipelineConfig
from conf.detectors import DETECTORS
from conf.model_catalogue import catalogue
from jobs.core.errors import UserError, one_line
from jobs.core.optional_packages import missing
from jobs.models import weight_folders
from jobs.models.locations import locate, places_of
from jobs.models.weights_store import Weights, of_folder, pulled, resolve
from transforms.models.detect.category_names import read_names
from transforms.models.detect.detections import Thresholds
from transforms.models.detect.pretrained import PretrainedDetector, PretrainedSpec
from transforms.models.detect.prompted import OWL_KINDS, SAM3_KINDS, Owl, Sam3
from transforms.models.detect.ultralytics_models import YoloDetector, YoloSpec
from transforms.models.inference import ModelError

_HUB_FILES = (
    ("config.json",),
    ("preprocessor_config.json", "processor_config.json"),
    ("model.safetensors", "pytorch_model.bin"),
)
PROMPTED: Mapping[str, tuple[Mapping[str, str], Callable[..., Any]]] = {
    "owlv2": (OWL_KINDS, Owl),
    "sam3": (SAM3_KINDS, Sam3),
}
"""Detectors that are prompted with phrases: their model types, and their class."""

_EXTRA = "transformers"
_LIBRARIES = ("torch", "torchvision", "transformers", "safetensors")


@dataclass(frozen=True)
class Pretrained:
    """Weights in a transformers folder: the class that runs them, the folder's config, and the licence it states."""

    weights: Weights
    kind: str
    said: Mapping[str, Any]
    licence: str | None

    @property
    def names(self) -> tuple[str, ...]:
        """Return the categories of the model, in order."""
        known = {int(number): str(name) for number, name in (self.said.get("id2label") or {}).items()}
        return tuple(known[number] for number in sorted(known))


@dataclass(frozen=True)
class Runnable:
    """A detector that can be loaded: its class and specification, categories, weights, and licence."""

    detector: Callable[..., Any]
    spec: Any
    names: tuple[str, ...]
    weights: Weights
    licence: str | None


def in_folder(key: str, named: str, kinds: Mapping[str, str]) -> Pretrained:
    """Return the weights that the setting `key` names: a folder, a name of the catalogue, or a repository of the hub.

    `kinds` maps the accepted model types to their classes. Raises `UserError` with all problems.
    """
    if problems := missing(_EXTRA, *_LIBRARIES):
        raise UserError(problems)
    weights = _weights(key, named)
    said = weight_folders.config_of(weights.path)
    found = str(said.get("model_type"))
    if found not in kinds:
        raise UserError(f"{key}={named}: expected a model of type {' or '.join(kinds)}, found {found}")
    return Pretrained(weights, kinds[found], said, weight_folders.licence_in(weights.path))


def _weights(key: str, named: str) -> Weights:
    if named in catalogue():
        return pulled(named)
    for place in places_of(named):
        if place.is_dir():
            return of_folder(place, place.name)
        if place.is_file():
            raise UserError(f"{key}={named}: expected a folder, as transformers writes it, found a file")
    return of_folder(locate(key, named, _HUB_FILES), named)


def default_of(detector: str) -> str:
    """Return the first model of the catalogue that runs with a detector. Raises `UserError` where there is none."""
    found = next((model.name for model in catalogue().values() if model.detector == detector), None)
    if found is None:
        raise UserError(
            f"annotate.weights: the detector {detector} runs what `winnow train` has trained; name it, as in "
            "annotate.weights=models:yard@champion, or its folder"
        )
    return found


def detector(config: PipelineConfig) -> Runnable:
    """Return the torch detector that a configuration names. Raises `UserError` with all problems."""
    if DETECTORS[config.annotate.detector].kinds is None:
        return _yolo(config)
    return _of_transformers(config)


def limits_of(config: PipelineConfig) -> Thresholds:
    """Return the detection thresholds of a configuration."""
    params = config.annotate
    return Thresholds(params.min_score, params.nms_iou, params.max_objects)


def names_of(config: PipelineConfig) -> tuple[str, ...]:
    """Return the category names that a configuration gives; empty for none. Raises `UserError`."""
    given = config.annotate.names
    if not given:
        return ()
    try:
        return read_names(Path(given).expanduser())
    except (OSError, ValueError) as error:
        raise UserError(f"annotate.names={given}: {one_line(error)}") from error


def _of_transformers(config: PipelineConfig) -> Runnable:
    params = config.annotate
    problems: list[str] = []
    found: Pretrained | None = None
    declared = DETECTORS[params.detector]
    kinds, loaded_by = PROMPTED.get(params.detector, (declared.kinds or {}, declared.loads or PretrainedDetector))
    names: tuple[str, ...] = ()
    try:
        found = in_folder("annotate.weights", params.weights or default_of(params.detector), kinds)
    except UserError as error:
        problems += error.problems
    try:
        names = _phrases(config) if params.detector in PROMPTED else names_of(config)
    except UserError as error:
        problems += error.problems
    if params.detector == "sam3":
        problems += missing("annotate", "pycocotools")
    if found and names and params.detector not in PROMPTED and len(names) != len(found.names):
        problems.append(f"annotate.names: expected {len(found.names)} names, found {len(names)}")
    if found is None or problems:
        raise UserError(problems)
    names = names or found.names
    where = found.weights
    spec = PretrainedSpec(
        found.kind,
        params.detector,
        where.path,
        where.sha256,
        where.name,
        names,
        limits_of(config),
        params.precision,
        config.resources.model_batch,
    )
    return Runnable(loaded_by, spec, names, where, found.licence)


def _phrases(config: PipelineConfig) -> tuple[str, ...]:
    params = config.annotate
    problems = [f"annotate.names={params.names}: {params.detector} has annotate.prompts"] if params.names else []
    phrases = tuple(" ".join(phrase.split()) for phrase in params.prompts)
    if not phrases or not all(phrases) or len(set(phrases)) < len(phrases):
        problems.append(
            f"annotate.prompts: expected phrases for what {params.detector} is to find, each once, for instance "
            f"[person, red car]; found {list(params.prompts)}"
        )
    if problems:
        raise UserError(problems)
    return phrases


def _yolo(config: PipelineConfig) -> Runnable:
    params = config.annotate
    problems = missing("ultralytics", "torch", "ultralytics")
    weights: Weights | None = None
    names: tuple[str, ...] = ()
    try:
        weights = _yolo_weights(config)
    except UserError as error:
        problems += error.problems
    try:
        names = names_of(config)
    except UserError as error:
        problems += error.problems
    if weights is None or problems:
        raise UserError(problems)
    batch = config.resources.model_batch
    spec = YoloSpec(
        weights.path, weights.sha256, weights.name, limits_of(config), params.size, names, params.precision, batch
    )
    try:
        loaded = YoloDetector(spec)
    except ModelError as error:
        raise UserError(f"annotate.weights={params.weights}: {error}") from error
    return Runnable(YoloDetector, spec, loaded.names, weights, loaded.licence)


def _yolo_weights(config: PipelineConfig) -> Weights:
    named = config.annotate.weights or default_of("yolo26")
    weights = resolve(named)
    if weights.path.suffix != ".pt":
        raise UserError(f"annotate.weights={named}: expected weights of Ultralytics, NAME.pt; run exports with onnx")
    return weights
