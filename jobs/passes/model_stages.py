"""Runner of the model stages: missing frames go through the model, and every frame is accounted for."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

import schemas
from jobs.core.errors import RunFailedError, RunStopped
from jobs.core.stage import Stage
from jobs.models.remote_models import make_model
from jobs.passes.intake import Intake, common_error
from jobs.passes.model_pass import run_model_pass
from jobs.passes.model_plan import ModelPlan, ModelPlanner
from jobs.passes.model_worker import ModelTask
from jobs.passes.propagation_plan import PropagationPlanner
from jobs.passes.run_context import RunContext, Survey
from jobs.storage.annotation_committer import ObjectCommitter
from jobs.storage.committer import Committer
from jobs.storage.quarantine import update_quarantine
from jobs.views.categories import register_model


class ModelStages:
    """The model stages of one run; a `Runner`."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._stages: Mapping[str, Stage] = context.by_name

    def survey(self, stage: Stage) -> Survey:
        """Return which frames the model has not seen, as the tables are now."""
        plan = self._planner(stage, False).survey()
        return Survey(plan.frames, plan.wanted, plan.missing, plan.outdated, gone=plan.n_gone)

    def run(self, stage: Stage) -> bool:
        """Run the model on missing frames, or on all where the stage is recomputed.

        Raises `RunFailedError` where frames are left that are neither done nor quarantined, and `RunStopped` where the
        run was asked to end before all were processed.
        """
        context, live = self._context, self._context.now
        planner = self._planner(stage, context.recomputes(stage))
        before = planner.survey()
        resources = context.config.resources
        kind = ObjectCommitter if stage.table.name in schemas.ROWS_OF_FRAMES else Committer
        planned_on = {stage.table.name: planner.snapshot}
        every_s = resources.commit_seconds
        committer = kind(context.store, [stage], planned_on, context.job_id, every_s, live.reporter.committed)
        if before.gone:
            committer.remove(stage.table.name, pa.concat_tables(before.gone))
        if before.open:
            live.reporter.began(stage.name, before.open)
        task = ModelTask(
            make_model(stage),
            stage.name,
            stage.key,
            context.store.root,
            context.config.image,
            resources.model_batch,
            stage.context,
            str(live.claim.stop_flag),
            stage.table.written_by,
            resources.live,
        )
        did = run_model_pass(
            planner.todo(),
            task,
            resources.model_frames,
            lambda cluster: cluster.model_processes(resources),
            live.engine,
            live.engine.local_models,
            Intake(committer, live.reporter.measured, live.claim, live.abort),
        )
        if not did.stopped and (error := common_error(did.faults, before.wanted)):
            raise RunFailedError(
                f"stage {stage.name}: each of the {before.wanted:,} frames failed alike, so that it is not the frames: "
                f"{error}"
            )
        # Of a pass that was stopped, most frames are open, and nothing is known of those that it did not come to.
        still_open = {} if did.stopped else {stage.name: lambda: self._planner(stage, False).open_frames()}
        faults = update_quarantine(
            context.store, list(context.stages), context.streams, did.faults, context.job_id, still_open
        )
        after = self._planner(stage, False).survey() if before.open or before.gone else before
        quarantined = faults.get(stage.name, 0)
        if after.open > quarantined and not did.stopped:
            raise RunFailedError(
                f"stage {stage.name}: {after.wanted} frames in, {after.wanted - after.open} rows out and {quarantined} "
                "quarantined; run again to compute the rest"
            )
        if not did.stopped:
            register_model(context.store, stage, context.job_id)
        self._account(
            stage, before, after, did.computed.get(stage.table.name, 0), quarantined, did.seconds, did.stopped
        )
        if did.stopped:
            raise RunStopped(live.claim.asked() or "paused")
        return did.n_frames > 0

    def _account(
        self,
        stage: Stage,
        before: ModelPlan,
        after: ModelPlan,
        computed: int,
        quarantined: int,
        seconds: float,
        stopped: bool,
    ) -> None:
        outcome, earlier = self._context.now.outcome(stage)
        outcome.account(
            earlier,
            frames_in=after.wanted,
            computed=computed,
            done=after.wanted - after.open,
            quarantined=quarantined,
            removed=before.n_gone,
            seconds=seconds,
            state="paused" if stopped else "done",
        )

    def _planner(self, stage: Stage, recompute: bool) -> ModelPlanner:
        """Return the plan of a model: the frames that it is to process, compared with its rows in the tables now."""
        store, streams = self._context.store, self._context.streams
        work = stage.spec.model
        assert work is not None
        if work.shown == "stretches":
            return PropagationPlanner(store, stage, self._stages, streams, recompute, self._context.within)
        objects = stage.upstream[0] if work.shown == "objects" else None
        regions = stage.upstream[0] if work.shown in {"crops", "lines"} else None
        return ModelPlanner(store, stage, self._stages, streams, recompute, objects, regions, self._context.within)
