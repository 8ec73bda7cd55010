"""External services of call stages: how each is checked and called, and its part of the summary."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from conf import PipelineConfig
from conf.stages import SPECS
from jobs.core.stage import Stage
from jobs.models.remote_models import server_named
from jobs.records.run_record import StageOutcome
from jobs.vlm import brand_calls, vlm_stage
from jobs.vlm.vlm_calls import Row
from jobs.vlm.vlm_stage import CallSurvey


class Calls(Protocol):
    """The calls of one run for one stage."""

    def survey(self) -> CallSurvey:
        """Return how many frames are sent to the service, and about how many of them it has not been asked."""

    def ask(self) -> tuple[int, list[Row]]:
        """Ask about what is open as last surveyed; return how many valid answers came, and the faults of frames."""

    def open_frames(self) -> set[tuple[str, int]]:
        """Return the frames that the service has still to be asked about, as (stream, number)."""


@dataclass(frozen=True)
class CallService:
    """An external service; each function takes the section of the configuration that the stage declares.

    `check` raises `UserError`, before any work, for what the calls need. `sends_to` returns what goes where, with which
    key. `forbidden_by` returns the variable of the
    environment that forbids to ask, if one does. `calls` makes the `Calls` of a run. `unasked` and `unanswered` return
    a line on the frames that it was not asked about, or gave no valid answer on, given the outcome of the stage.
    """

    check: Callable[[Any], None]
    sends_to: Callable[[Any], str]
    forbidden_by: Callable[[Any], str | None]
    calls: Callable[..., Calls]
    unasked: Callable[[StageOutcome, Any], str | None]
    unanswered: Callable[[StageOutcome, Any], str | None]


SERVICES: Mapping[str, CallService] = {
    "vlm": CallService(
        vlm_stage.check,
        vlm_stage.sends_to,
        vlm_stage.skipped,
        vlm_stage.Escalation,
        vlm_stage.unasked,
        vlm_stage.unanswered,
    ),
    "brands": CallService(
        brand_calls.check,
        brand_calls.sends_to,
        vlm_stage.skipped,
        brand_calls.BrandCalls,
        brand_calls.unasked,
        lambda _outcome, _params: None,
    ),
}


def service_of(stage: Stage, config: PipelineConfig) -> tuple[CallService, Any] | None:
    """Return the service that a stage asks, with its section of the configuration; None for a stage that asks none."""
    calls = stage.spec.calls
    return (SERVICES[calls.service], getattr(config, calls.section)) if calls else None


def destinations(config: PipelineConfig) -> list[str]:
    """Return where a run of a configuration would send frames and keys, a line each: a config may come from anybody."""
    lines = []
    specs = [SPECS[name] for name in config.closed_stages]
    for spec in specs:
        if spec.calls is None:
            continue
        service, params = SERVICES[spec.calls.service], getattr(config, spec.calls.section)
        if not service.forbidden_by(params):
            lines.append(f"stage {spec.name} sends {service.sends_to(params)}")
    if any(spec.kind == "model" for spec in specs) and (server := server_named()):
        lines.append(f"frames that a model is shown are sent to {server}, as $WINNOW_INFERENCE_URL says")
    return lines


def stages_used(stages: Sequence[Stage], config: PipelineConfig) -> list[Stage]:
    """Return the stages without those that the environment keeps from asking."""
    used = []
    for stage in stages:
        service = service_of(stage, config)
        if service is None or not service[0].forbidden_by(service[1]):
            used.append(stage)
    return used
