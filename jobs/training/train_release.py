"""A training on a release, as a job: its images, the loop, figures of each epoch, and a version in the registry."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

import schemas
from jobs.core.errors import RunFailedError, RunStopped
from jobs.core.naming import many
from jobs.models import registry
from jobs.models.registry import ModelVersion
from jobs.models.weight_folders import digest
from jobs.records.job_claim import JobClaim
from jobs.records.journal import Journal
from jobs.records.run_events import ProgressListener
from jobs.storage import spare_files
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.training import epochs
from jobs.training.loop import DivergedError, Hooks, LoopParams, TrainingProgress, fit, forget_newest, sync
from jobs.training.networks import Base, Network, base_of, network_of
from jobs.training.onnx_export import COMPARED, exported, recorded
from jobs.training.options import TRAIN, TRAININGS, VAL, TrainOptions
from jobs.training.training_data import TrainingData, prepared

_WEIGHTS = "weights"
_BEST, _PART = "best", "part"
_TRIES = 3
"""How often a training is tried that diverges: again from its last checkpoint, with half the rate each time."""


@dataclass(frozen=True)
class TrainJob:
    """What a training needs of the job that it is."""

    workspace: Workspace
    job_id: str
    claim: JobClaim
    journal: Journal
    listener: ProgressListener

    @property
    def folder(self) -> Path:
        """Return the folder of the training: its images and checkpoints."""
        return self.workspace.folder / TRAININGS / self.job_id


def run(job: TrainJob, options: TrainOptions) -> dict[str, Any]:
    """Train, register the weights of the best epoch, and return what is recorded as the result of the job.

    A job that was interrupted continues where it was, and a training is registered once. Raises `RunStopped` when it
    was to end, `UserError` for what cannot be trained, and `RunFailedError`.
    """
    options.check()
    base = base_of(options.model)
    data = prepared(job.workspace, options, job.folder)
    store = Store(job.workspace.root)
    began = time.monotonic()
    progress = _trained(job, options, base, data, store)
    job.claim.check()
    if progress.best is None:
        raise RunFailedError("no epoch was finished, so that there are no weights to keep; give it more time")
    seconds = max(progress.seconds, time.monotonic() - began)
    made = _registered(job, options, base, data, store, progress, seconds)
    shutil.rmtree(job.folder / "checkpoints", ignore_errors=True)
    return made


def _trained(job: TrainJob, options: TrainOptions, base: Base, data: TrainingData, store: Store) -> TrainingProgress:
    rate = options.learning_rate or base.learning_rate
    for tries in range(_TRIES):
        params = LoopParams(options.epochs, options.batch, options.seed, rate / 2**tries, options.augment)
        try:
            return _attempt(job, options, base, data, store, params)
        except DivergedError as error:
            if tries == _TRIES - 1:
                raise RunFailedError(
                    f"the loss is no number any more, also with a learning rate of {params.learning_rate:g}; the last "
                    f"images were {error}; look at their labels, or set a lower --learning-rate"
                ) from error
            job.journal.write(
                "train_step",
                stage="train",
                error="the loss is no number any more; half the rate from the last epoch on",
            )
            forget_newest(job.folder)
    raise AssertionError


def _attempt(
    job: TrainJob, options: TrainOptions, base: Base, data: TrainingData, store: Store, params: LoopParams
) -> TrainingProgress:
    import torch

    if options.threads:
        torch.set_num_threads(options.threads)
    # Weights that begin at random do so in the same way each time.
    torch.manual_seed(options.seed)
    network = network_of(base, data.classes, options.size)
    watch = _Watch(job, options, data, store, network)
    job.listener.on_stage_started("train", options.epochs)
    progress, ended_early = fit(network, data.images[TRAIN], params, job.folder, watch.hooks())
    if ended_early and not job.claim.is_to_stop():
        raise RunStopped(watch.asked or "paused")
    return progress


class _Watch:
    """What happens around the loop: requests, figures, the best weights."""

    def __init__(
        self, job: TrainJob, options: TrainOptions, data: TrainingData, store: Store, network: Network
    ) -> None:
        self._job = job
        self._options = options
        self._data = data
        self._store = store
        self._network = network
        self.asked: Any = None

    def hooks(self) -> Hooks:
        """Return what the loop calls."""
        return Hooks(self._wants_end, self._epoch_done, self._improved, self._kept, self._is_over, self._step_done)

    def _wants_end(self) -> bool:
        self.asked = self._job.claim.asked()
        return self.asked is not None or self._job.claim.is_to_stop()

    def _epoch_done(self, epoch: int, loss: float, seconds: float) -> dict[str, float]:
        images, classes = self._data.images[VAL], self._data.classes
        scores, found = epochs.measured(self._network, images, classes)
        figures = epochs.record(self._store, self._job.job_id, epoch, loss, scores, images, found, classes)
        self._job.journal.write(
            "train_epoch", stage="train", data={**figures, "epoch": epoch}, seconds=round(seconds, 3)
        )
        self._job.listener.on_frames_done(1)
        return figures

    def _improved(self, epoch: int) -> None:
        """Keep the weights next to those of the best epoch before, until a checkpoint says which epoch is the best."""
        folder = self._job.folder
        target = best_of(folder, epoch)
        spare_files.clear(folder, target.name, _PART)
        part = folder / spare_files.spare_name(target.name, _PART)
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        self._network.save(part)
        sync(part)
        # There from an attempt before, which was ended before its checkpoint.
        shutil.rmtree(target, ignore_errors=True)
        os.replace(part, target)
        sync(folder)

    def _kept(self, progress: TrainingProgress) -> None:
        for path in self._job.folder.glob(f"{_BEST}-*"):
            if progress.best is not None and path != best_of(self._job.folder, progress.best):
                shutil.rmtree(path, ignore_errors=True)

    def _is_over(self, progress: TrainingProgress) -> bool:
        patience, minutes = self._options.patience, self._options.minutes
        done = len(progress.history)
        stale = patience is not None and progress.best is not None and done - progress.best >= patience
        stale = stale or self._job.claim.is_to_stop()
        return stale or (minutes is not None and progress.seconds > 60 * minutes)

    def _step_done(self, figures: Mapping[str, float]) -> None:
        self._job.journal.write("train_step", stage="train", data=dict(figures))


def best_of(folder: Path, epoch: int) -> Path:
    """Return where the weights of an epoch are, below the folder of a training."""
    return folder / f"{_BEST}-{epoch}"


def _registered(
    job: TrainJob,
    options: TrainOptions,
    base: Base,
    data: TrainingData,
    store: Store,
    progress: TrainingProgress,
    seconds: float,
) -> dict[str, Any]:
    """Store the weights by their hash, then their rows; each step is made once, or found."""
    assert progress.best is not None
    best = best_of(job.folder, progress.best)
    (best / "README.md").write_text(_card(options, base, data, progress))
    model_id = digest(best)
    place = Path(_WEIGHTS) / model_id[:16] / options.name
    target = job.workspace.folder / place
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        spare_files.clear(target.parent, options.name, _PART)
        part = target.parent / spare_files.spare_name(options.name, _PART)
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(best, part)
        sync(part)
        os.replace(part, target)
        sync(target.parent)
    figures = progress.history[progress.best - 1]
    source = data.manifest["source"]
    row = {
        "model_id": model_id,
        "name": options.name,
        "path": str(target),
        "base": base.named,
        "base_hash": base.sha256,
        "data": str(job.folder / "dataset"),
        "data_content": data.manifest["content"],
        "release": options.release,
        "run": source.get("run"),
        "manifest": json.dumps(data.manifest, sort_keys=True),
        "params": json.dumps(options.model_dump(mode="json"), sort_keys=True),
        "metrics": json.dumps({name: round(value, 6) for name, value in sorted(figures.items())}),
        "licence": base.licence,
        "seconds": seconds,
        "created_ns": time.time_ns(),
    }
    store.create_tables([schemas.MODELS])
    store.upsert(schemas.MODELS, pa.Table.from_pylist([row], schemas.MODELS.arrow_schema), job.job_id)
    number = registry.register(
        store,
        {
            "name": options.name,
            "model_id": model_id,
            "job_id": job.job_id,
            "release": options.release,
            "detector": base.detector,
            "folder": place.as_posix(),
            "classes": list(data.classes),
            "best_epoch": progress.best,
            "note": options.note,
        },
    )
    version = registry.find(store, f"{options.name}@{number}")
    return {
        "model": version.reference,
        "model_id": model_id,
        "release": options.release,
        "folder": str(target),
        "epochs": len(progress.history),
        "best_epoch": progress.best,
        **{name: figures[name] for name in ("AP", "AP50") if name in figures},
        "frames": sum(len(images) for images in data.images.values()),
        "licence": base.licence,
        **(_exported(job, store, version, base, data) if options.onnx else {}),
    }


def _exported(
    job: TrainJob, store: Store, version: ModelVersion, base: Base, data: TrainingData
) -> dict[str, str | None]:
    """Write the ONNX file of a version, if it finds the same on images of val, or on others where these are few."""
    images = [*data.images[VAL], *data.images[TRAIN]][: max(COMPARED, len(data.images[VAL]))]
    made = exported(version, base.licence, images, version.folder.with_suffix(".onnx"))
    row = recorded(store, version, made, job.workspace.folder, job.job_id)
    return {"onnx": row["file"], "onnx_reason": row["reason"]}


def _card(options: TrainOptions, base: Base, data: TrainingData, progress: TrainingProgress) -> str:
    """Return the card of a model: its licence where programs look for it, and what it was made of."""
    return (
        f"---\nlicense: {base.licence.lower()}\n---\n\n# {options.name}\n\nTrained by Winnow from {base.named} on "
        f"release {options.release}, {many(len(data.images[TRAIN]), 'image')}, best epoch {progress.best} of "
        f"{len(progress.history)}. Categories: {', '.join(data.classes)}.\n"
    )
