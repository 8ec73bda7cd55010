"""Builds the stages that a configuration runs from their declarations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import schemas
from conf import PipelineConfig
from conf.stage_spec import StageSpec, setting
from conf.stages import SPECS
from jobs.core.errors import UserError
from jobs.core.naming import MEASURE
from jobs.core.optional_packages import require
from jobs.core.stage import Stage
from jobs.stages.detection import detector_stage
from jobs.stages.model_sources import SOURCES
from jobs.stages.services import SERVICES
from transforms.frames.pixel_measure import StageMeasure
from transforms.metrics.measure import PixelParams
from transforms.models.model_input import ModelInput

_OF_EVERY_RUN = (
    schemas.STREAMS,
    schemas.LISTING,
    schemas.QUARANTINE,
    schemas.RUNS,
    schemas.STAGE_RUNS,
    schemas.HEADS,
    schemas.SCOPES,
)


def build(config: PipelineConfig) -> tuple[Stage, ...]:
    """Return the stages that a configuration runs, each after those that it reads.

    Raises `UserError` with what is wrong with the first stage whose packages or weights are not there.
    """
    chosen = config.closed_stages
    built: dict[str, Stage] = {}
    for name in chosen:
        built[name] = _built(SPECS[name], config, chosen, built)
    return tuple(built.values())


def _built(spec: StageSpec, config: PipelineConfig, chosen: Sequence[str], above: dict[str, Stage]) -> Stage:
    for extra, packages in spec.packages_in(config):
        require(extra, *packages)
    code, model = spec.made_of(config)
    params: dict[str, Any] = {}
    for section in spec.params:
        params |= section.of(config)
    reads = spec.read_in(config, frozenset(chosen))
    upstream = [above[read.stage] for read in reads]
    for read in reads:
        if read.rule_param:
            rule = above[read.stage].rule
            params[read.rule_param] = rule and rule.sql
            upstream += [above[name] for name in (sorted(rule.stages) if rule else ())]
    if model:
        return _model_stage(replace(spec, code=code, model=model), config, params, tuple(upstream))
    if spec.calls:
        SERVICES[spec.calls.service].check(getattr(config, spec.calls.section))
    scope = spec.work.scope_in(config) if spec.work else "frame"
    return Stage(spec.name, spec.kind, spec.table, code, params, tuple(upstream), scope, spec.version)


def _model_stage(spec: StageSpec, config: PipelineConfig, params: dict[str, Any], upstream: tuple[Stage, ...]) -> Stage:
    work = spec.model
    assert work is not None
    rule = config.rule(spec.name)
    if work.weights == "detector":
        return detector_stage(spec, config, upstream, rule)
    assert work.make is not None
    weights, found = SOURCES[work.weights](spec, config)
    context = setting(config, work.context_setting) if work.context_setting else 0
    stage = Stage(
        spec.name,
        spec.kind,
        spec.table,
        spec.code,
        params | found,
        upstream,
        version=spec.version,
        context=context,
        rule=rule,
    )
    given = ModelInput(spec.sections(config), stage.key, config.resources.model_batch, weights)
    return stage.made_by(work.make(given))


def step_named(stage: str, config: PipelineConfig) -> str:
    """Return the step of a pipeline that a stage belongs to: all that read pixels are one. Raises `UserError`."""
    if stage == MEASURE:
        return stage
    steps = {name: MEASURE if SPECS[name].kind == "pixels" else name for name in config.closed_stages}
    if stage in steps:
        return steps[stage]
    known = ", ".join(dict.fromkeys([MEASURE, *steps.values()]))
    raise UserError(f"stage {stage!r} is not part of the job; expected one of {known}, or a stage that reads pixels")


def written_by(stages: Sequence[Stage]) -> list[schemas.Table]:
    """Return the tables that a run of these stages writes to."""
    names = {table.name for table in _OF_EVERY_RUN} | {table.name for s in stages for table in s.spec.tables}
    return [table for table in schemas.ALL if table.name in names]


def pixel_params(config: PipelineConfig) -> PixelParams:
    """Return the input of the pixel pass of a configuration."""
    measures = []
    for spec in (SPECS[name] for name in config.closed_stages):
        if spec.measure:
            sections = {name: values for name, values in spec.sections(config).items() if values is not config.image}
            measures.append(StageMeasure(spec.name, spec.table, partial(spec.measure, **sections), spec.of_pairs))
    return PixelParams(config.image, tuple(measures))
