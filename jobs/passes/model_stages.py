"""Runs the model stages: what a model has not seen yet is shown to it, and every frame is accounted for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

import schemas
from conf import PipelineConfig
from jobs.core.errors import RunFailedError
from jobs.core.stage import Stage
from jobs.engine.lazy_engine import EngineOnDemand
from jobs.models.remote_models import make_model
from jobs.passes.model_pass import run_model_pass
from jobs.passes.model_plan import ModelPlan, ModelPlanner
from jobs.passes.model_worker import ModelTask
from jobs.passes.pixel_pass import PassResult
from jobs.passes.propagation_plan import CarryPlanner
from jobs.records.job_claim import Hold
from jobs.records.run_events import Teller
from jobs.records.run_record import StageOutcome
from jobs.storage.committer import Committer
from jobs.storage.object_committer import ObjectCommitter
from jobs.storage.quarantine import update_quarantine
from jobs.storage.store import Store
from jobs.views.categories import register_model


@dataclass(frozen=True)
class ModelResult:
    """What a model stage did: how it stood before and stands now, what the pass cost, and frames set aside."""

    before: ModelPlan
    after: ModelPlan
    did: PassResult
    computed: int
    quarantined: int

    def account(self, outcome: StageOutcome, earlier: StageOutcome) -> None:
        """Put down what came of the stage, which did `earlier` before it was paused."""
        outcome.frames_in = self.after.wanted
        outcome.computed = earlier.computed + self.computed
        outcome.quarantined = self.quarantined
        outcome.reused = max(0, self.after.wanted - self.after.open - outcome.computed)
        outcome.removed = self.before.n_gone
        outcome.seconds = earlier.seconds + self.did.seconds
        outcome.state = "paused" if self.did.stopped else "done"


class ModelStages:
    """The model stages of one run."""

    def __init__(
        self, store: Store, stages: Sequence[Stage], config: PipelineConfig, streams: Sequence[str], job_id: str
    ) -> None:
        self._store = store
        self._stages = {s.name: s for s in stages}
        self._config = config
        self._streams = streams
        self._job_id = job_id

    def planner(self, stage: Stage, again: bool = False) -> ModelPlanner:
        """Return what knows which frames the model has not seen, as the tables are now; all of them with `again`."""
        if stage.table is schemas.PROPAGATED:
            return CarryPlanner(self._store, stage, self._stages, self._streams, again)
        objects = next((s for s in stage.upstream if s.table is schemas.ANNOTATED), None)
        return ModelPlanner(self._store, stage, self._stages, self._streams, again, objects)

    def run(
        self,
        stage: Stage,
        engine: EngineOnDemand,
        teller: Teller,
        hold: Hold,
        abort: bool = False,
        again: bool = False,
    ) -> ModelResult:
        """Bring a stage up to date; with `again`, show all frames to the model once more.

        `hold` and `abort` are as for `pixelpass.run_pass`. Raises `RunFailedError` where frames are left that are
        neither done nor set aside, unless the pass was asked to end.
        """
        planner = self.planner(stage, again)
        before = planner.survey()
        resources = self._config.resources
        kind = ObjectCommitter if stage.table.name in schemas.OBJECTS_OF else Committer
        planned_on = {stage.table.name: planner.snapshot}
        every_s = resources.commit_seconds
        committer = kind(self._store, [stage], planned_on, self._job_id, every_s, teller.committed)
        if before.gone:
            committer.remove(stage.table.name, pa.concat_tables(before.gone))
        if before.open:
            teller.began(stage.name, before.open)
        task = ModelTask(
            make_model(stage),
            stage.name,
            stage.key,
            self._store.root,
            self._config.image,
            resources.model_batch,
            stage.context,
            str(hold.drain),
            stage.table.written_by,
        )
        did = run_model_pass(
            planner.todo(),
            task,
            resources.model_frames,
            lambda cluster: cluster.model_processes(resources),
            engine,
            engine.local_models,
            committer,
            teller.measured,
            hold=hold,
            abort=abort,
        )
        faults = update_quarantine(self._store, list(self._stages.values()), self._streams, did.faults, self._job_id)
        after = self.planner(stage).survey() if before.open or before.gone else before
        quarantined = faults.get(stage.name, 0)
        if after.open > quarantined and not did.stopped:
            raise RunFailedError(
                f"stage {stage.name}: {after.wanted} frames in, {after.wanted - after.open} rows out and {quarantined} "
                "quarantined; run again to compute the rest"
            )
        if not did.stopped:
            register_model(self._store, stage, self._job_id)
        return ModelResult(before, after, did, did.computed.get(stage.table.name, 0), quarantined)
