"""The stages for what is doubtful, checked before any work: a second opinion, the routing, and questions to a model."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import schemas
from conf import PipelineConfig
from jobs.core.errors import UserError
from jobs.core.optional_packages import missing
from jobs.core.stage import Stage
from jobs.stages.detection import annotate_stage
from jobs.vlm.vlm_clients import PACKAGES
from jobs.vlm.vlm_stage import skipped
from transforms.assess import escalation, uncertainty

# How it is reached, and what may be spent, changes no answer.
_REACH = ("url", "key_env", "attempts", "timeout_s", "per_minute", "parallel", "wait_s")
_NO_MATTER = frozenset({*_REACH, "usd_in", "usd_out", "max_usd"})
_OF_MODELS = frozenset({"second", "second_detector", "larger", "larger_detector"})


def with_doubts(
    config: PipelineConfig, frames: Stage, objects: Sequence[Stage], tracks: Stage | None = None
) -> tuple[Stage, ...]:
    """Return the stage of the annotations, if there is one, and after it those that a configuration has for its doubts.

    `frames` is the stage that read them, `tracks` the one that follows objects. Raises `UserError`.
    """
    chosen = config.closed_stages
    stages = list(objects)
    if "second" in chosen:
        stages.append(second_stage(config))
    if "route" in chosen:
        stages.append(route_stage(config, [*stages, *([tracks] if tracks else []), frames]))
    # It is there where the others are.
    route = [stage for stage in stages if stage.name == "route"]
    if "larger" in chosen:
        stages.append(larger_stage(config))
    if "escalate" in chosen:
        stages.append(escalate_stage(config, frames, *route))
    return tuple(stages)


def second_stage(config: PipelineConfig) -> Stage:
    """Return the stage of the second detector, whose findings are only compared. Raises `UserError`."""
    return _other(config, "second", config.route.second, config.route.second_detector)


def larger_stage(config: PipelineConfig) -> Stage:
    """Return the stage of the larger detector, which looks at the frames that are routed to it. Raises `UserError`."""
    stage = _other(config, "larger", config.route.larger, config.route.larger_detector)
    if stage.context:
        raise UserError("route.larger_detector: expected one that looks at frames by themselves, not at a stream")
    # What it finds on a frame does not depend on why the frame came to it.
    return stage


def _other(config: PipelineConfig, name: str, weights: str | None, detector: str | None) -> Stage:
    if not weights:
        raise UserError(f"route.{name}: the stage {name} needs the weights of another detector, found nothing")
    given = config.annotate
    other: Any = {"weights": weights, "detector": detector or given.detector}
    stage = annotate_stage(dataclasses.replace(config, annotate=dataclasses.replace(given, **other)))
    return dataclasses.replace(stage, name=name)


def route_stage(config: PipelineConfig, above: Sequence[Stage]) -> Stage:
    """Return the stage that routes what the first of these stages has annotated, going by what the others say of it."""
    params = {
        f"route.{f.name}": getattr(config.route, f.name)
        for f in dataclasses.fields(config.route)
        if f.name not in _OF_MODELS
    }
    params["annotate.min_score"] = config.annotate.min_score
    code = (uncertainty.doubts_of, uncertainty.routed)
    return Stage("route", "table", schemas.ROUTING, code, params, upstream=tuple(above), scope="run")


def escalate_stage(config: PipelineConfig, frames: Stage, route: Stage) -> Stage:
    """Return the stage that asks a vision language model. Raises `UserError` with all that is wrong with what it needs.

    Where the environment forbids to ask, nothing is needed.
    """
    params = config.escalate
    if not skipped(params):
        problems = [*params.problems(), *missing("vlm", PACKAGES[params.api])]
        if not params.is_local and not os.environ.get(params.key_name):
            problems.append(f"${params.key_name} is not set; expected the key of the endpoint there")
        if problems:
            raise UserError(problems)
    told = {
        f"escalate.{f.name}": getattr(params, f.name) for f in dataclasses.fields(params) if f.name not in _NO_MATTER
    }
    told["escalate.licence"] = params.terms
    code = (escalation.question, escalation.read_answer, escalation.as_jpeg)
    return Stage("escalate", "calls", schemas.ESCALATED, code, told, upstream=(route, frames))
