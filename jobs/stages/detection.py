"""The detector that a configuration names, checked before any work, and the stage that it is run in."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import schemas
from conf import PipelineConfig
from jobs.core.errors import UserError, one_line
from jobs.core.optional_packages import missing
from jobs.core.stage import Stage
from jobs.models import transformers
from jobs.models.weights_store import Licence, Weights, licence_of, notice, resolve
from transforms.frames import clip, image
from transforms.models.detect.annotator import Annotator, Exported, MotionAnnotator, annotate_exported, annotate_with
from transforms.models.detect.category_names import read_names
from transforms.models.detect.detections import Thresholds
from transforms.models.detect.layouts import LayoutName, UnknownLayoutError
from transforms.models.detect.motion_boxes import MotionDetector
from transforms.models.detect.onnx import OnnxParams
from transforms.models.inference import ModelError

_LAYOUTS: dict[str, LayoutName | None] = {
    "auto": None,
    "yolox": "yolox",
    "d-fine": "d-fine",
    "end-to-end": "end-to-end",
}
# What decides what a detector finds on a frame, beside its weights and names, which are named by what they are.
_OF_MOTION = ("min_score", "max_objects")
_OF_EXPORTED = ("detector", "layout", "size", "min_score", "nms_iou", "max_objects")
_OF_TORCH = {
    "d-fine": ("detector", "min_score", "max_objects", "precision"),
    "owlv2": ("detector", "min_score", "max_objects", "precision"),
    "sam3": ("detector", "min_score", "max_objects", "precision"),
    "yolo26": ("detector", "size", "min_score", "nms_iou", "max_objects", "precision"),
}


@dataclass(frozen=True)
class Chosen:
    """An exported detector that can be loaded: its weights, and all categories that it can find."""

    exported: Exported
    weights: Weights
    names: tuple[str, ...]
    licence: str | None


def annotate_stage(config: PipelineConfig) -> Stage:
    """Return the stage that finds objects. Raises `UserError` with all that is wrong with what it needs."""
    if config.annotate.detector == "motion":
        return _motion_stage(config)
    if config.annotate.prompts and config.annotate.detector not in transformers.PROMPTED:
        open_ = " and ".join(transformers.PROMPTED)
        raise UserError(f"annotate.prompts: {config.annotate.detector} knows its own categories; {open_} take phrases")
    if config.annotate.detector != "onnx":
        return _torch_stage(config)
    chosen = choose(config)
    params = _params(config, _OF_EXPORTED, chosen.names, chosen.weights, chosen.licence)
    code = (image.decode_color, clip.ClipFrame.color, Annotator, annotate_exported)
    stage = Stage("annotate", "model", schemas.ANNOTATED, code, params)
    return dataclasses.replace(stage, make=partial(annotate_exported, chosen.exported, stage.key))


def _params(
    config: PipelineConfig, which: Sequence[str], names: Sequence[str], weights: Weights, licence: str | None
) -> dict[str, Any]:
    params: dict[str, Any] = {f"annotate.{name}": getattr(config.annotate, name) for name in which}
    # The licence is what the file itself says, for the manifests of exports.
    said = {"names": list(names), "weights_hash": weights.sha256, "licence": licence}
    return params | {f"annotate.{name}": value for name, value in said.items()}


def _torch_stage(config: PipelineConfig) -> Stage:
    chosen = transformers.detector(config)
    params = _params(config, _OF_TORCH[config.annotate.detector], chosen.names, chosen.weights, chosen.licence)
    code = (image.decode_color, clip.ClipFrame.color, Annotator, chosen.detector)
    stage = Stage("annotate", "model", schemas.ANNOTATED, code, params)
    return dataclasses.replace(stage, make=partial(annotate_with, chosen.detector, chosen.spec, stage.key))


def _motion_stage(config: PipelineConfig) -> Stage:
    given = config.annotate
    wrong = [name for name in ("weights", "names", "prompts") if getattr(given, name)]
    if wrong:
        raise UserError([f"annotate.{name}={getattr(given, name)}: the detector motion has none" for name in wrong])
    params: dict[str, Any] = {f"annotate.{name}": getattr(given, name) for name in ("detector", *_OF_MOTION)}
    params |= {f"moving.{f.name}": getattr(config.moving, f.name) for f in dataclasses.fields(config.moving)}
    params["annotate.names"] = list(MotionDetector.names)
    code = (image.decode_color, clip.ClipFrame.color, MotionAnnotator)
    stage = Stage("annotate", "model", schemas.ANNOTATED, code, params, context=config.moving.history)
    limits = Thresholds(given.min_score, given.nms_iou, given.max_objects)
    return dataclasses.replace(stage, make=partial(MotionAnnotator, config.moving, limits, stage.key))


def licence_notice(stages: Sequence[Stage]) -> str | None:
    """Return what the licences of a run's models ask of the user, the first time that they are used."""
    told = []
    for stage in stages:
        digest, what = stage.params.get(f"{stage.name}.weights_hash"), "these weights"
        if stage.kind == "calls":
            api, model = (stage.params.get(f"{stage.name}.{name}") for name in ("api", "model"))
            digest, what = model and f"{api}:{model}", f"the answers of {model}"
        licence = licence_of(digest, stage.params.get(f"{stage.name}.licence")) if digest else Licence()
        if digest and (asked := notice(digest, licence, what)):
            told.append(f"{stage.name}: {asked}")
    return "; ".join(told) or None


def choose(config: PipelineConfig) -> Chosen:
    """Return the exported detector of a configuration. Raises `UserError` with all that is wrong with it."""
    params = config.annotate
    problems: list[str] = []
    names: tuple[str, ...] = ()
    weights = None
    try:
        weights = resolve(params.weights)
    except UserError as error:
        problems += error.problems
    if params.names:
        try:
            names = read_names(Path(params.names).expanduser())
        except (OSError, ValueError) as error:
            problems.append(f"annotate.names={params.names}: {one_line(error)}")
    problems += missing("annotate", "onnxruntime")
    if weights is None or problems:
        raise UserError(problems)
    limits = Thresholds(params.min_score, params.nms_iou, params.max_objects)
    size = (params.size, params.size) if params.size else None
    told = OnnxParams(limits, _LAYOUTS[params.layout], size, names, config.resources.model_batch)
    exported = Exported(weights.path, weights.sha256, weights.name, told)
    try:
        loaded = exported.load()
    except (ModelError, UnknownLayoutError) as error:
        raise UserError(f"annotate.weights={params.weights}: {error}") from error
    return Chosen(exported, weights, loaded.names, loaded.licence)
