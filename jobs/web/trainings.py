"""Trainings as pages show them: options, the best epoch, figures by epoch, and samples with their frames."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl

import schemas
from jobs.dispatch.job_queue import QueuedJob
from jobs.records.job_log import JobLog
from jobs.storage.store import Store
from jobs.training.epochs import SCORE
from jobs.training.options import TRAIN, VAL
from jobs.web.overviews import ProjectJobs
from jobs.web.plain import number
from jobs.web.project_data import Shown

MOST = 200
"""Trainings in a list: the newest ones."""

_NAMES = (SCORE, "AP50", "loss")
_NOTHING: dict[str, Any] = {"epochs": 0, "best": None, "loss": None}

_Epochs = dict[int, dict[tuple[str, str], float | None]]
"""Figures of each epoch, by split and name."""


def listed(known: ProjectJobs, store: Store) -> list[dict[str, Any]]:
    """Return the newest trainings, the newest first: each as a job, with `options`, `epochs`, `best` and `loss`.

    `epochs` is how many are done; `best` has `epoch`, `AP` and `AP50` of the one with the highest AP, None for none.
    """
    jobs = [job for job in known.overview.jobs() if job.kind == "train"][::-1][:MOST]
    figures = _figures(store, [job.job_id for job in jobs])
    return [
        {**known.summary(job), "options": options_of(known, job), **figures.get(job.job_id, _NOTHING)} for job in jobs
    ]


def options_of(known: ProjectJobs, job: QueuedJob) -> dict[str, Any]:
    """Return the options of a training as they were submitted, as plain values."""
    # Records of jobs that are over are kept without their options.
    submitted = job.submitted if "task" in job.submitted else JobLog(known.workspace.root, job.job_id).records()[0].data
    return dict(submitted.get("task", {}))


def _figures(store: Store, jobs: Iterable[str]) -> dict[str, dict[str, Any]]:
    rows = (
        store.open(schemas.TRAIN_EPOCHS)
        .lazy()
        .filter(pl.col("job_id").is_in(list(jobs)), pl.col("name").is_in(_NAMES), pl.col("category") == "")
        .sort("job_id", "epoch")
        .collect()
    )
    found: dict[str, _Epochs] = {}
    for row in rows.iter_rows(named=True):
        epochs = found.setdefault(row["job_id"], {})
        epochs.setdefault(row["epoch"], {})[row["split"], row["name"]] = row["value"]
    return {job_id: _best(epochs) for job_id, epochs in found.items()}


def _best(epochs: _Epochs) -> dict[str, Any]:
    measured = {epoch: each[VAL, SCORE] for epoch, each in epochs.items() if each.get((VAL, SCORE)) is not None}
    # Of several with the same figure the first one, as the training has it.
    best = max(measured, key=lambda epoch: (measured[epoch] or 0.0, -epoch), default=None)
    return {
        "epochs": max(epochs),
        "best": None
        if best is None
        else {"epoch": best, SCORE: measured[best], "AP50": epochs[best].get((VAL, "AP50"))},
        "loss": epochs[max(epochs)].get((TRAIN, "loss")),
    }


def epochs_of(store: Store, job_id: str, after: int, limit: int) -> dict[str, Any]:
    """Return the rows of `train_epochs` of up to `limit` epochs after one, and the number of the newest epoch."""
    rows = store.open(schemas.TRAIN_EPOCHS).lazy().filter(pl.col("job_id") == job_id).drop("job_id")
    last = rows.select(pl.col("epoch").max()).collect().item()
    chosen = rows.filter(pl.col("epoch").is_between(after + 1, after + limit)).sort("epoch", "name", "category")
    return {"figures": chosen.collect().to_dicts(), "last": last or 0}


def samples_of(store: Store, shown: Shown, job_id: str, epoch: int) -> list[dict[str, Any]]:
    """Return what a network found on its samples after an epoch, each with the hash and the size of its frame now.

    `h`, `width` and `height` are None for a frame that is not there any more.
    """
    wanted = (pl.col("job_id") == job_id) & (pl.col("epoch") == epoch)
    rows = store.open(schemas.TRAIN_SAMPLES).lazy().filter(wanted).sort("stream_id", "frame_idx").collect()
    return [{**row, **frame_of(shown, row["stream_id"], row["frame_idx"])} for row in rows.iter_rows(named=True)]


def frame_of(shown: Shown, stream: str, idx: int) -> dict[str, Any]:
    """Return the name of a frame as pages take it, with its hash and its size in pixels; None for none."""
    named = {"stream_id": stream, "frame_idx": number(idx)}
    table = shown.frames
    row = table.keys.find(stream, idx)
    if row is None:
        return {**named, "h": None, "width": None, "height": None}
    width, height = (table.column(name)[row] for name in ("width", "height"))
    [h] = table.hashes([row])
    # NaN for a frame that does not decode.
    known = width == width  # noqa: PLR0124
    return {**named, "h": h, "width": int(width) if known else None, "height": int(height) if known else None}
