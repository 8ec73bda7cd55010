"""Runner of the call stages, which send questions to an external service."""

from __future__ import annotations

import time

from jobs.core.stage import Stage
from jobs.passes.run_context import RunContext, Survey
from jobs.stages.services import Calls, service_of
from jobs.storage.quarantine import update_quarantine


class CallStages:
    """The stages of one run that ask a service; a `Runner`. What was paid for is never requested again."""

    def __init__(self, context: RunContext) -> None:
        self._context = context

    def survey(self, stage: Stage) -> Survey:
        """Return how many frames are sent to the service, and about how many of them it has not been asked."""
        calls = self._calls(stage).survey()
        return Survey(calls.wanted, calls.wanted, calls.open)

    def run(self, stage: Stage) -> bool:
        """Ask about what is open. Raises `RunFailedError` where the endpoint refuses all requests."""
        context, live = self._context, self._context.now
        started = time.monotonic()
        calls = self._calls(stage)
        survey = calls.survey()
        live.reporter.began(stage.name, survey.open)
        fresh, faults = calls.ask()
        held = update_quarantine(
            context.store,
            list(context.stages),
            sorted(context.streams),
            faults,
            context.job_id,
            {stage.name: lambda: self._calls(stage).open_frames()},
        )
        outcome, earlier = live.outcome(stage)
        outcome.account(
            earlier,
            frames_in=survey.wanted,
            computed=fresh,
            done=survey.wanted - survey.open + fresh,
            quarantined=held.get(stage.name, 0),
            seconds=time.monotonic() - started,
        )
        return fresh > 0

    def _calls(self, stage: Stage) -> Calls:
        context = self._context
        found = service_of(stage, context.config)
        assert found is not None
        service, params = found
        return service.calls(
            context.store,
            stage,
            context.by_name,
            params,
            context.config.image,
            context.streams,
            context.job_id,
            context.check,
        )
