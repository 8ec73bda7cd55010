"""Runs the model stages: what a model has not seen yet is shown to it, and every frame is accounted for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa

import schemas
from conf import PipelineConfig
from jobs.commit import Committer
from jobs.engine import Engine
from jobs.errors import RunFailedError
from jobs.modelpass import run_model_pass
from jobs.modelplan import ModelPlan, ModelPlanner
from jobs.modelworker import ModelTask
from jobs.objectcommit import ObjectCommitter
from jobs.pixelpass import PassResult
from jobs.quarantine import settle
from jobs.stage import Stage
from jobs.store import Store


@dataclass(frozen=True)
class ModelResult:
    """What a model stage did: how it stood before and stands now, what the pass cost, and frames set aside."""

    before: ModelPlan
    after: ModelPlan
    did: PassResult
    quarantined: int


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

    def planner(self, stage: Stage) -> ModelPlanner:
        """Return what knows which frames the model has not seen, as the tables are now."""
        frames = {"embeddings": self._config.embed.frames, "annotate": self._config.annotate.frames}[stage.name]
        verdicts = self._stages.get("curation") if frames == "kept" else None
        return ModelPlanner(self._store, stage, self._stages["frames"], verdicts, self._streams)

    def run(
        self,
        stage: Stage,
        engine: Callable[[], Engine],
        limit: int | None,
        began: Callable[[str, int | None], None],
        progress: Callable[[int], None],
    ) -> ModelResult:
        """Bring a stage up to date; with `limit`, look at no more frames than that.

        Raises `RunFailedError` where frames are left that are neither done nor set aside.
        """
        planner = self.planner(stage)
        before = planner.survey()
        resources = self._config.resources
        kind = ObjectCommitter if stage.table is schemas.ANNOTATED else Committer
        planned_on = {stage.table.name: planner.snapshot}
        committer = kind(self._store, [stage], planned_on, self._job_id, resources.commit_seconds)
        if before.gone:
            committer.remove(stage.table.name, pa.concat_tables(before.gone))
        if before.open:
            began(stage.name, before.open if limit is None else min(limit, before.open))
        assert stage.make is not None
        task = ModelTask(
            stage.make,
            stage.name,
            stage.key,
            self._store.root,
            self._config.image,
            resources.model_batch,
            stage.context,
        )
        did = run_model_pass(
            planner.todo(),
            task,
            resources.model_frames,
            lambda cluster: cluster.model_processes(resources),
            engine,
            committer,
            limit,
            progress,
        )
        faults = settle(self._store, list(self._stages.values()), self._streams, did.faults, self._job_id)
        after = self.planner(stage).survey() if before.open or before.gone else before
        quarantined = faults.get(stage.name, 0)
        if after.open > quarantined and limit is None:
            raise RunFailedError(
                f"stage {stage.name}: {after.wanted} frames in, {after.wanted - after.open} rows out and {quarantined} "
                "quarantined; run again to compute the rest"
            )
        return ModelResult(before, after, did, quarantined)
