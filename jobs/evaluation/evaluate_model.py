"""A model measured on sealed frames, and compared with another one on the same, as a job."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import schemas
from jobs.core.naming import many
from jobs.core.plain_values import finite
from jobs.evaluation import test_side
from jobs.evaluation.detection import found_on
from jobs.evaluation.model_figures import ModelFigures, figures_of
from jobs.evaluation.options import EVALUATIONS, EvaluateOptions
from jobs.evaluation.test_side import TestSide
from jobs.models import registry
from jobs.models.registry import ModelVersion
from jobs.records.job_claim import JobClaim
from jobs.records.journal import Journal
from jobs.records.run_events import ProgressListener
from jobs.records.run_record import environment
from jobs.storage.store import Drop, Store
from jobs.storage.workspace import Workspace
from transforms.assess.box_matching import FoundBoxes
from transforms.assess.paired_bootstrap import Difference, PairedComparison, compare

WORST = 50
"""Frames in the selection of those with the most errors."""

_VERSION = "1"
"""Raised where what is measured changes, so that it is measured again."""


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


@dataclass(frozen=True)
class Evaluated:
    """A model with what it found, as rows have it or as it was just measured."""

    evaluation_id: str
    version: ModelVersion
    figures: ModelFigures


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
        result["against"] = _compared(store, job, side, mine, theirs[0])
    return finite(result)


def _evaluated(
    job: EvaluateJob, store: Store, version: ModelVersion, side: TestSide, options: EvaluateOptions
) -> Evaluated:
    identity = f"{_VERSION}\x1f{version.model_id}\x1f{side.content}\x1f{side.measured}\x1f{side.split_seed}"
    evaluation_id = hashlib.sha256(identity.encode()).hexdigest()[:32]
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
    _record(store, job, evaluation_id, version, side, found, figures, milliseconds, others)
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


def _record(
    store: Store,
    job: EvaluateJob,
    evaluation_id: str,
    version: ModelVersion,
    side: TestSide,
    found: Sequence[FoundBoxes],
    figures: ModelFigures,
    milliseconds: float,
    others: Sequence[str],
) -> None:
    """Write the rows of an evaluation, its own last: where that is, the others are."""
    errors = figures.errors
    frames = [
        {
            "evaluation_id": evaluation_id,
            "stream_id": image.stream_id,
            "frame_idx": image.frame_idx,
            "content_hash": side.content_hashes[at],
            "unit": side.units[at],
            "correct": int(errors.correct[at]),
            "wrong": int(errors.wrong[at]),
            "missed": int(errors.missed[at]),
            "found": [
                {"category": side.classes[label], "score": score, **_edges(box)}
                for box, score, label in zip(
                    found[at].boxes.tolist(), found[at].scores.tolist(), found[at].labels.tolist(), strict=True
                )
            ],
            "labelled": [
                {"category": side.classes[label], **_edges((x, y, right - x, low - y)), "is_crowd": crowd}
                for (x, y, right, low), label, crowd in zip(
                    image.boxes.tolist(), image.labels.tolist(), image.crowd.tolist(), strict=True
                )
            ],
        }
        for at, image in enumerate(side.images)
    ]
    parts = [
        {
            "evaluation_id": evaluation_id,
            "part": part,
            "of": of,
            "name": name,
            "value": finite(value),
        }
        for part, of, name, value in figures.figures
    ]
    row = {
        "evaluation_id": evaluation_id,
        "model_id": version.model_id,
        "name": version.name,
        "version": version.version,
        "release": side.measured.release,
        "split": side.measured.split,
        "split_seed": side.split_seed,
        "content": side.content,
        "frames": len(side.images),
        "objects": int(figures.value("objects")),
        "units": len(set(side.units)),
        **finite({"ap": figures.value("AP"), "ap50": figures.value("AP50")}),
        "min_score": figures.min_score,
        "ms_per_frame": milliseconds,
        "report": json.dumps({**figures.report, "other_categories": list(others), "unseen": side.unseen}),
        "environment": json.dumps(environment()),
        "job_id": job.job_id,
        "created_ns": time.time_ns(),
    }
    earlier = Drop(keys=pa.table({"evaluation_id": pa.array([evaluation_id], pa.string())}))
    tables = ((schemas.EVALUATION_FRAMES, frames), (schemas.EVALUATION_FIGURES, parts), (schemas.EVALUATIONS, [row]))
    store.create_tables([table for table, _ in tables])
    for table, rows in tables:
        store.upsert(table, pa.Table.from_pylist(rows, table.arrow_schema), job.job_id, earlier)
    _select_worst(store, version, side, figures)


def _edges(box: Sequence[float]) -> dict[str, float]:
    return dict(zip(("bbox_x", "bbox_y", "bbox_w", "bbox_h"), box, strict=True))


def worst_of(version: ModelVersion) -> str:
    """Return the name of the selection that has the frames on which a version errs most."""
    return f"worst-{version.name}-{version.version}"


def _select_worst(store: Store, version: ModelVersion, side: TestSide, figures: ModelFigures) -> None:
    """Make a selection of the frames with the most errors, to be reviewed: often it is the labels that are wrong."""
    errors = figures.errors
    total = errors.wrong + errors.missed
    order = np.argsort(-total, kind="stable")[:WORST]
    name, now = worst_of(version), time.time_ns()
    rows = [
        {
            "selection": name,
            "stream_id": side.images[at].stream_id,
            "frame_idx": side.images[at].frame_idx,
            "content_hash": side.content_hashes[at],
            "rank": rank,
            "strategy": "worst",
            "stratum": "",
            "reason": f"{many(int(errors.missed[at]), 'object')} missed, {int(errors.wrong[at])} boxes that are none",
            "value": float(total[at]),
            "created_ns": now,
        }
        for rank, at in enumerate(at for at in order if total[at])
    ]
    store.create_tables([schemas.SELECTIONS])
    earlier = Drop(keys=pa.table({"selection": pa.array([name], pa.string())}))
    rows_of = pa.Table.from_pylist(rows, schemas.SELECTIONS.arrow_schema)
    store.upsert(schemas.SELECTIONS, rows_of, "evaluate", earlier)


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
        "worst": worst_of(mine.version),
    }


def _compared(store: Store, job: EvaluateJob, side: TestSide, mine: Evaluated, other: Evaluated) -> dict[str, Any]:
    places = {unit: at for at, unit in enumerate(sorted(set(side.units)))}
    units = np.array([places[unit] for unit in side.units], np.int64)
    seed = f"{mine.evaluation_id}:{other.evaluation_id}"
    found = compare(mine.figures.matches, other.figures.matches, units, seed)
    classes = {
        name: {"objects": int(match.objects[0].sum()), **_plain(each)}
        for name, match, each in zip(side.classes, mine.figures.matches, found.categories, strict=True)
    }
    row = {
        "evaluation_id": mine.evaluation_id,
        "against_id": other.evaluation_id,
        "verdict": found.verdict,
        **{("difference" if name == "mean" else name): value for name, value in _plain(found.all).items()},
        "classes": json.dumps(classes),
        "units": found.units,
        "draws": found.draws,
        "job_id": job.job_id,
        "created_ns": time.time_ns(),
    }
    store.create_tables([schemas.COMPARISONS])
    store.upsert(schemas.COMPARISONS, pa.Table.from_pylist([row], schemas.COMPARISONS.arrow_schema), job.job_id)
    return {"model": other.version.reference, "AP": other.figures.value("AP"), **_said(found), "classes": classes}


def _said(found: PairedComparison) -> dict[str, Any]:
    return {"verdict": found.verdict, "difference": _plain(found.all), "units": found.units, "draws": found.draws}


def _plain(each: Difference) -> dict[str, float | None]:
    plain: dict[str, float | None] = finite(vars(each))
    return plain
