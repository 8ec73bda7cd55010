"""The runners of a run: one for each kind of stage."""

from __future__ import annotations

from collections.abc import Mapping

from conf.stage_spec import Kind
from jobs.core.stage import Stage
from jobs.passes.call_stages import CallStages
from jobs.passes.model_stages import ModelStages
from jobs.passes.pixel_stages import PixelStages
from jobs.passes.run_context import RunContext, Runner
from jobs.passes.table_stages import TableStages


class Runners:
    """The runners of one run."""

    def __init__(self, context: RunContext) -> None:
        self.pixels = PixelStages(context)
        self.tables = TableStages(context)
        self._by_kind: Mapping[Kind, Runner] = {
            "pixels": self.pixels,
            "table": self.tables,
            "model": ModelStages(context),
            "calls": CallStages(context),
        }

    def of(self, stage: Stage) -> Runner:
        """Return the runner of the kind that a stage is of."""
        return self._by_kind[stage.kind]
