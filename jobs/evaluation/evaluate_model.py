"""A model measured on sealed frames, and compared with another one on the same, as a job."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import schemas
from jobs.core.plain_values import finite
from jobs.evaluation import test_side
from jobs.evaluation.detection import found_on
from jobs.evaluation.evaluation_record import Evaluated, id_of, record, record_comparison
from jobs.evaluation.model_figures import figures_of
from jobs.evaluation.options import EVALUATIONS, EvaluateOptions
from jobs.evaluation.test_side import TestSide
from jobs.evaluation.worst_frames import worst_named
from jobs.models import registry
from jobs.models.registry import ModelVersion
from jobs.records.job_claim import JobClaim
from jobs.records.journal import Journal
from jobs.records.run_events import ProgressListener
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from transforms.assess.box_matching import FoundBoxes


@dataclass(frozen=True)
class EvaluateJob:
    """What an evaluation needs of the job that it is."""

    workspace: Workspace
    job_id: str
    claim: JobClaim
    journal: Journal
    listener: ProgressListener

    @property
    def folder(self) -> Path:
        """Return where the sealed frames are while it lasts."""
        return self.workspace.folder / EVALUATIONS / self.job_id


def run(job: EvaluateJob, options: EvaluateOptions) -> dict[str, Any]:
    """Measure a model, compare it, and return what is recorded as the result of the job.

    Each use of sealed frames is counted, also where what was found before is taken. The frames are deleted from the
    job's folder at the end. Raises `RunStopped` when it was to end, and `UserError` for what cannot be measured.
    """
    store = Store(job.workspace.require().root)
    version = registry.find(store, options.model)
    other = registry.find(store, options.against) if options.against else None
    shutil.rmtree(job.folder, ignore_errors=True)
    try:
        side = test_side.opened(job.workspace, options.measured(), version, job.folder)
        models = [version, other] if other else [version]
        for each in models:
            test_side.refuse_learnt_from(store, each, side)
        for each in models:
            test_side.record_use(store, job.job_id, each, side, options.by or "unknown")
        job.listener.on_stage_started("evaluate", len(side.images) * len(models))
        mine, *theirs = [_evaluated(job, store, each, side, options) for each in models]
    finally:
        shutil.rmtree(job.folder, ignore_errors=True)
    result = _summary(store, mine, side)
    if theirs:
        result["against"] = record_comparison(store, job.job_id, side, mine, theirs[0])
    return finite(result)


def _evaluated(
    job: EvaluateJob, store: Store, version: ModelVersion, side: TestSide, options: EvaluateOptions
) -> Evaluated:
    evaluation_id = id_of(version, side)
    known = {row["evaluation_id"] for row in store.read(schemas.EVALUATIONS, ("evaluation_id",)).to_pylist()}
    if evaluation_id in known and not options.fresh:
        found = _found_before(store, evaluation_id, side)
        job.listener.on_frames_done(len(side.images))
        return Evaluated(evaluation_id, version, figures_of(side, found))

    def on_frame() -> None:
        job.claim.check()
        job.listener.on_frames_done(1)

    threads = options.threads or os.cpu_count() or 1
    found, milliseconds, others = found_on(version, side.images, side.classes, threads, on_frame)
    figures = figures_of(side, found)
    record(store, job.job_id, evaluation_id, version, side, found, figures, milliseconds, others)
    return Evaluated(evaluation_id, version, figures)


def _found_before(store: Store, evaluation_id: str, side: TestSide) -> list[FoundBoxes]:
    numbers = {name: at for at, name in enumerate(side.classes)}
    rows = store.read(schemas.EVALUATION_FRAMES, ("evaluation_id", "stream_id", "frame_idx", "found"))
    mine = rows.filter(pa.compute.equal(rows["evaluation_id"], evaluation_id)).to_pylist()
    found = {(row["stream_id"], row["frame_idx"]): row["found"] for row in mine}
    return [_boxes(found[image.stream_id, image.frame_idx], numbers) for image in side.images]


def _boxes(rows: Sequence[dict[str, Any]], numbers: dict[str, int]) -> FoundBoxes:
    edges = ("bbox_x", "bbox_y", "bbox_w", "bbox_h")
    return FoundBoxes(
        np.array([[row[edge] for edge in edges] for row in rows], np.float64).reshape(-1, 4),
        np.array([row["score"] for row in rows], np.float64),
        np.array([numbers[row["category"]] for row in rows], np.int64),
    )


def _summary(store: Store, mine: Evaluated, side: TestSide) -> dict[str, Any]:
    names = ("AP", "AP50", "AP75", "APs", "APm", "APl")
    return {
        "model": mine.version.reference,
        "on": str(side.measured),
        "evaluation_id": mine.evaluation_id,
        "frames": len(side.images),
        "objects": int(mine.figures.value("objects")),
        "units": len(set(side.units)),
        **{name: mine.figures.value(name) for name in names},
        "uses": test_side.uses_of(store, side.content),
        "worst": worst_named(mine.version.name, mine.version.version),
    }
