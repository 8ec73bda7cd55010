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
from jobs.errors import UserError, one_line
from jobs.provisioning.extras import missing
from jobs.provisioning.modelfiles import Weights, licence_of, notice, resolve
from jobs.stage import Stage
from transforms import clip, image
from transforms.detect.annotator import Annotator, Exported, MotionAnnotator, annotate_exported
from transforms.detect.core import Thresholds
from transforms.detect.layouts import LayoutName, UnknownLayoutError
from transforms.detect.motion import MotionDetector
from transforms.detect.names import read_names
from transforms.detect.onnx import ModelError, OnnxParams

_LAYOUTS: dict[str, LayoutName | None] = {
    "auto": None,
    "yolox": "yolox",
    "d-fine": "d-fine",
    "end-to-end": "end-to-end",
}
# Paths and which frames are looked at do not change what is found on one; names and weights are named by what they are.
_OF_MOTION = ("min_score", "max_objects")
_NO_MATTER = frozenset({"weights", "names", "frames"})


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
    chosen = choose(config)
    params: dict[str, Any] = {
        f"annotate.{f.name}": getattr(config.annotate, f.name)
        for f in dataclasses.fields(config.annotate)
        if f.name not in _NO_MATTER
    }
    params |= {"annotate.names": list(chosen.names), "annotate.weights_hash": chosen.weights.sha256}
    # What the file itself says, for the manifests of exports.
    params["annotate.licence"] = chosen.licence
    code = (image.decode_color, clip.ClipFrame.color, Annotator, annotate_exported)
    stage = Stage("annotate", "model", schemas.ANNOTATED, code, params)
    return dataclasses.replace(stage, make=partial(annotate_exported, chosen.exported, stage.key))


def _motion_stage(config: PipelineConfig) -> Stage:
    given = config.annotate
    wrong = [name for name in ("weights", "names") if getattr(given, name)]
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
    """Return what the licence of a run's weights asks of the user, the first time that they are used."""
    for stage in stages:
        digest = stage.params.get("annotate.weights_hash")
        if digest:
            return notice(digest, licence_of(digest, stage.params.get("annotate.licence")))
    return None


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
