"""Stages that run a detector, with its weights and categories checked before any work."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

import schemas
from conf import PipelineConfig
from conf.detectors import DETECTORS, DetectorSpec
from conf.rules import Rule
from conf.stage_spec import StageSpec, setting
from jobs.core.errors import UserError, one_line
from jobs.core.naming import wrong_with_category
from jobs.core.optional_packages import missing
from jobs.core.stage import Stage
from jobs.models import transformers
from jobs.models.weights_store import Licence, Weights, licence_of, notice, resolve
from transforms.models.detect.annotator import Exported, MotionAnnotator, annotate_exported, annotate_with
from transforms.models.detect.category_names import read_names
from transforms.models.detect.chosen_classes import ChosenClasses, annotate_chosen
from transforms.models.detect.detections import Thresholds
from transforms.models.detect.layouts import LayoutName, UnknownLayoutError
from transforms.models.detect.motion_boxes import MotionDetector
from transforms.models.detect.onnx import OnnxParams
from transforms.models.inference import ModelError

NAMES = "annotate.names"
_SHOWN = 5
_LAYOUTS: dict[str, LayoutName | None] = {
    "auto": None,
    "yolox": "yolox",
    "d-fine": "d-fine",
    "end-to-end": "end-to-end",
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
    given = config.annotate
    detector = DETECTORS[given.detector]
    if detector.context_setting:
        return _motion_stage(config, detector)
    if given.prompts and not detector.prompted:
        open_ = " and ".join(name for name, spec in DETECTORS.items() if spec.prompted)
        raise UserError(f"annotate.prompts: {given.detector} knows its own categories; {open_} take phrases")
    if detector.loads:
        runnable = transformers.detector(config)
        params = _params(config, detector, runnable.names, runnable.weights, runnable.licence)
        stage = _stage(detector, params)
        if given.classes:
            return _of_classes(stage, runnable.detector, runnable.spec)
        return stage.made_by(partial(annotate_with, runnable.detector, runnable.spec, stage.key))
    chosen = choose(config)
    params = _params(config, detector, chosen.names, chosen.weights, chosen.licence)
    stage = _stage(detector, params)
    if given.classes:
        return _of_classes(stage, Exported.load, chosen.exported)
    return stage.made_by(partial(annotate_exported, chosen.exported, stage.key))


def _of_classes(stage: Stage, load: Callable[[Any, int], Any], spec: Any) -> Stage:
    """Return a stage that runs a detector of which some classes count: those among its names."""
    # Without a choice, the code and the parameters are what they were before there was one.
    stage = replace(stage, code=(*stage.code, ChosenClasses))
    return stage.made_by(partial(annotate_chosen, load, spec, tuple(stage.params[NAMES]), stage.key))


def detector_stage(spec: StageSpec, config: PipelineConfig, upstream: tuple[Stage, ...], rule: Rule | None) -> Stage:
    """Return a stage that runs a detector: that of the section `annotate`, or another one in its place.

    Raises `UserError` with all that is wrong with what it needs.
    """
    assert spec.model is not None
    if spec.model.other:
        weights, detector = (setting(config, key) for key in spec.model.other)
        if not weights:
            raise UserError(
                f"{spec.model.other[0]}: the stage {spec.name} needs the weights of another detector, found nothing"
            )
        other: Any = {"weights": weights, "detector": detector or config.annotate.detector}
        config = replace(config, annotate=replace(config.annotate, **other))
    # Objects are named by what finds them, independent of the name of their stage.
    stage = annotate_stage(config)
    if spec.model.rule and stage.context:
        # What is found on a frame must not depend on which other frames are sent there.
        raise UserError(f"{spec.model.other and spec.model.other[1]}: expected one that inspects single frames")
    return replace(stage, name=spec.name, upstream=upstream, rule=rule)


def _stage(detector: DetectorSpec, params: Mapping[str, Any], context: int = 0) -> Stage:
    table = schemas.ANNOTATED
    return Stage(table.written_by, "model", table, detector.code, params, context=context)


def _params(
    config: PipelineConfig, detector: DetectorSpec, names: Sequence[str], weights: Weights, licence: str | None
) -> dict[str, Any]:
    if wrong := [problem for name in names if (problem := wrong_with_category(name))]:
        raise UserError([f"annotate.names: {problem}" for problem in wrong[:_SHOWN]])
    params = {name: value for section in detector.params for name, value in section.of(config).items()}
    # The licence is what the file itself says, for the manifests of exports.
    said = {"names": _chosen(config, names), "weights_hash": weights.sha256, "licence": licence}
    return params | {f"annotate.{name}": value for name, value in said.items()}


def _chosen(config: PipelineConfig, names: Sequence[str]) -> list[str]:
    """Return the classes that count, in the order of the detector. Raises `UserError` with all that it has not."""
    wanted = config.annotate.classes
    folded = {name.casefold(): name for name in reversed(names)}
    problems = []
    for name in (name for name in wanted if name not in names):
        near = get_close_matches(name.casefold(), folded, 1)
        hint = f"the nearest is {folded[near[0]]!r}" if near else f"it has {', '.join(names[:_SHOWN])}"
        more = ", …" if not near and len(names) > _SHOWN else ""
        problems.append(f"annotate.classes: {config.annotate.detector} has no class {name!r}; {hint}{more}")
    if problems:
        raise UserError(problems)
    return [name for name in names if name in wanted] if wanted else list(names)


def _motion_stage(config: PipelineConfig, detector: DetectorSpec) -> Stage:
    given = config.annotate
    wrong = [name for name in ("weights", "names", "prompts", "classes") if getattr(given, name)]
    if wrong:
        raise UserError(
            [f"annotate.{name}={getattr(given, name)}: the detector {given.detector} has none" for name in wrong]
        )
    params = {name: value for section in detector.params for name, value in section.of(config).items()}
    params["annotate.names"] = list(MotionDetector.names)
    stage = _stage(detector, params, setting(config, detector.context_setting))
    limits = Thresholds(given.min_score, given.nms_iou, given.max_objects)
    return stage.made_by(partial(MotionAnnotator, config.moving, limits, stage.key))


def licence_notice(stages: Sequence[Stage]) -> str | None:
    """Return what the licences of a run's models ask of the user, the first time that they are used."""
    notices = []
    for stage in stages:
        spec = stage.spec
        section = spec.model.section if spec.model else spec.calls.section if spec.calls else stage.name
        digest, what = stage.params.get(f"{section}.weights_hash"), "these weights"
        if spec.calls:
            api, model = (stage.params.get(f"{section}.{name}") for name in ("api", "model"))
            digest, what = model and f"{api}:{model}", f"the answers of {model}"
        licence = licence_of(digest, stage.params.get(f"{section}.licence")) if digest else Licence()
        if digest and (asked := notice(digest, licence, what)):
            notices.append(f"{stage.name}: {asked}")
    return "; ".join(notices) or None


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
    onnx = OnnxParams(limits, _LAYOUTS[params.layout], size, names, config.resources.model_batch)
    exported = Exported(weights.path, weights.sha256, weights.name, onnx)
    try:
        loaded = exported.load()
    except (ModelError, UnknownLayoutError) as error:
        raise UserError(f"annotate.weights={params.weights}: {error}") from error
    return Chosen(exported, weights, loaded.names, loaded.licence)
