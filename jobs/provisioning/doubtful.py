"""The stages for what is doubtful, checked before any work: a second opinion, the routing, and questions to a model."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import schemas
from conf import PipelineConfig
from jobs.errors import UserError
from jobs.escalating.clients import PACKAGES
from jobs.escalating.escalate import skipped
from jobs.provisioning.detectors import annotate_stage
from jobs.provisioning.extras import missing
from jobs.stage import Stage
from transforms import doubt, escalation

# How it is reached, and what may be spent, changes no answer.
_REACH = ("url", "key_env", "attempts", "timeout_s", "per_minute", "wait_s")
_NO_MATTER = frozenset({*_REACH, "usd_in", "usd_out", "max_usd"})
_OF_MODELS = frozenset({"second", "second_detector"})


def with_doubts(config: PipelineConfig, frames: Stage, objects: Sequence[Stage]) -> tuple[Stage, ...]:
    """Return the stage of the annotations, if there is one, and after it those that a configuration has for its doubts.

    `frames` is the stage that read them. Raises `UserError`.
    """
    chosen = config.closed_stages
    stages = list(objects)
    if "second" in chosen:
        stages.append(second_stage(config))
    if "route" in chosen:
        stages.append(route_stage(config, list(stages)))
    if "escalate" in chosen:
        stages.append(escalate_stage(config, frames, stages[-1]))
    return tuple(stages)


def second_stage(config: PipelineConfig) -> Stage:
    """Return the stage of the second detector, whose findings are only compared. Raises `UserError`."""
    route, given = config.route, config.annotate
    if not route.second:
        raise UserError("route.second: the stage second needs the weights of another detector, found nothing")
    other: Any = {"weights": route.second, "detector": route.second_detector or given.detector}
    stage = annotate_stage(dataclasses.replace(config, annotate=dataclasses.replace(given, **other)))
    return dataclasses.replace(stage, name="second")


def route_stage(config: PipelineConfig, objects: Sequence[Stage]) -> Stage:
    """Return the stage that routes what these stages have annotated."""
    params = {
        f"route.{f.name}": getattr(config.route, f.name)
        for f in dataclasses.fields(config.route)
        if f.name not in _OF_MODELS
    }
    params["annotate.min_score"] = config.annotate.min_score
    code = (doubt.doubts_of, doubt.routed)
    return Stage("route", "table", schemas.ROUTING, code, params, upstream=tuple(objects), scope="run")


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
    code = (escalation.question, escalation.read_answer, escalation.as_jpeg)
    return Stage("escalate", "calls", schemas.ESCALATED, code, told, upstream=(route, frames))
