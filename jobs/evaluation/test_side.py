"""The sealed side of a release: opened for one evaluation, in a folder of its own, with a record of each use."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

import schemas
from jobs.core.errors import UserError
from jobs.core.naming import many
from jobs.datasets.export import ExportRequest, export
from jobs.datasets.split_units import Division, continuous_streams, unit_keys
from jobs.evaluation.options import Measured
from jobs.models.registry import ModelVersion
from jobs.storage import paths
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.training.options import TEST, TRAIN, VAL, TrainOptions
from jobs.training.training_data import LabelledImage, TrainingData, read_images, seen_frames
from jobs.views import snapshot_spec
from jobs.views.view import View
from schemas import FRAME_KEY
from transforms.assess.box_matching import LabelledBoxes
from transforms.assess.paired_bootstrap import FEWEST_UNITS

_WHOLE = "default"
_HOUR_NS = 3_600_000_000_000


@dataclass(frozen=True)
class TestSide:
    """The images of an evaluation with their objects, in order of stream and number.

    `content`: hash of frames and objects. `content_hashes`, `units` (streams, scenes or groups that frames are drawn
    with in a comparison) and `hours` (of the day in UTC, None where the time is unknown) are of each image. `unseen`:
    images without objects that nobody has inspected, which are left out.
    """

    measured: Measured
    split_seed: int
    classes: tuple[str, ...]
    images: Sequence[LabelledImage]
    content: str
    content_hashes: Sequence[str]
    units: Sequence[str]
    hours: Sequence[int | None]
    unseen: int

    def truth(self) -> list[LabelledBoxes]:
        """Return the objects of each image as they are matched."""
        return [LabelledBoxes(_sides(image), image.labels, image.crowd) for image in self.images]


def _sides(image: LabelledImage) -> Any:
    corners = image.boxes.astype(np.float64)
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)


def options_of(store: Store, version: ModelVersion) -> TrainOptions | None:
    """Return the options of the training that made a version; None for one of an earlier format."""
    return next(_trainings(store, version.model_id), None)


def _trainings(store: Store, model_id: str) -> Iterator[TrainOptions]:
    """Yield the options of the trainings that made a model, and the models that it was made from."""
    rows = {row["model_id"]: row for row in store.read(schemas.MODELS, ("model_id", "params", "base_hash")).to_pylist()}
    done: set[str] = set()
    while (row := rows.get(model_id)) and model_id not in done:
        done.add(model_id)
        values = json.loads(row["params"])
        if "split_seed" in values:
            yield TrainOptions.model_validate(values)
        model_id = row["base_hash"]


def opened(workspace: Workspace, measured: Measured, version: ModelVersion, folder: Path) -> TestSide:
    """Write the frames of an evaluation into a new folder, and return them; they keep their split for good.

    Raises `UserError` for a release without such frames or objects.
    """
    store = Store(workspace.require().root)
    trained = options_of(store, version)
    shares = dict(trained.split) if trained else {TRAIN: 0.8, VAL: 0.1, TEST: 0.1}
    seed = trained.split_seed if trained else 0
    if measured.split and measured.split not in shares:
        raise UserError(f"{measured}: expected a split of the training, {', '.join(shares)}")
    if measured.split == TRAIN:
        raise UserError(f"{measured}: that is what models learn from; expected {TEST}, or another release")
    others = frozenset(shares) - {measured.split} if measured.split else frozenset[str]()
    request = ExportRequest(
        "coco",
        paths.place(folder),
        release=measured.release,
        split=shares if measured.split else {},
        split_by=trained.split_by if trained else "auto",
        seed=seed,
        media="copy",
        sealed=others,
    )
    export(workspace, request)
    split = measured.split or _WHOLE
    data = read_images(folder, seen_frames(workspace, measured.release), [split])
    images = sorted(data.images[split], key=lambda image: (image.stream_id, image.frame_idx))
    if not any((~image.crowd).any() for image in images):
        raise UserError(f"{measured}: {many(len(images), 'image')}, and no object that somebody has labelled on them")
    view = View(store, snapshot_spec.choose(store, None, measured.release))
    frames = _frames(view, images)
    content = _content(images, data, frames["content_hash"].to_list())
    return TestSide(
        measured,
        seed,
        data.classes,
        images,
        content,
        frames["content_hash"].to_list(),
        frames["unit"].to_list(),
        frames["hour"].to_list(),
        data.unseen.get(split, 0),
    )


def _frames(view: View, images: Sequence[LabelledImage]) -> pl.DataFrame:
    """Return content, unit and hour of each image, in their order."""
    keys = pl.DataFrame(
        {"stream_id": [i.stream_id for i in images], "frame_idx": [i.frame_idx for i in images]},
        schema={"stream_id": pl.String, "frame_idx": pl.Int64},
    )
    columns = [*FRAME_KEY, "content_hash", "t_ns"]
    known = keys.join(
        view.lazy("frames").select(columns).collect(), on=FRAME_KEY, how="left", maintain_order="left"
    ).with_columns(hour=(pl.col("t_ns") // _HOUR_NS % 24).cast(pl.Int64))
    streams = keys["stream_id"].unique().sort().to_list()
    if len(streams) >= FEWEST_UNITS:
        return known.with_columns(unit=pl.col("stream_id"))
    continuous = continuous_streams(view, streams)
    with_scenes = set(view.lazy("scenes").select("stream_id").unique().collect()["stream_id"].to_list())
    by: dict[str, Division] = {
        stream: "group" if stream not in continuous else "scene" if stream in with_scenes else "stream"
        for stream in streams
    }
    return known.with_columns(unit=unit_keys(view, known, by)).with_columns(
        pl.coalesce("unit", "stream_id").alias("unit")
    )


def _content(images: Sequence[LabelledImage], data: TrainingData, hashes: Sequence[str]) -> str:
    hasher = hashlib.sha256(json.dumps(data.classes).encode())
    for image, content in zip(images, hashes, strict=True):
        hasher.update(f"{image.name}\x1f{content}\x1f{image.boxes.tolist()}{image.labels.tolist()}".encode())
        hasher.update(image.crowd.tobytes())
    return hasher.hexdigest()


def refuse_learnt_from(store: Store, version: ModelVersion, side: TestSide) -> None:
    """Raise `UserError` where a model, or one that it was made from, has learnt from frames of an evaluation."""
    given = store.open(schemas.SPLITS).lazy().filter(pl.col("split").is_in([TRAIN, VAL]))
    hashes = pl.DataFrame({"content_hash": side.content_hashes}, schema={"content_hash": pl.String})
    for options in _trainings(store, version.model_id):
        learnt = given.filter(pl.col("seed") == options.split_seed).select("content_hash").collect()
        found = hashes.join(learnt, on="content_hash", how="semi").height
        if found and not (side.measured.split == VAL and side.split_seed == options.split_seed):
            raise UserError(
                f"{side.measured}: {found:,} of {hashes.height:,} frames are what {version.reference} was trained or "
                f"chosen with; measure it on {side.measured.release}/{TEST}, or on a release of other frames"
            )


def record_use(store: Store, job_id: str, version: ModelVersion, side: TestSide, by: str) -> None:
    """Record that sealed frames were opened to measure a model; a job counts once."""
    row: Mapping[str, Any] = {
        "job_id": job_id,
        "model_id": version.model_id,
        "release": side.measured.release,
        "split": side.measured.split,
        "split_seed": side.split_seed,
        "content": side.content,
        "frames": len(side.images),
        "by": by,
        "at_ns": time.time_ns(),
    }
    store.create_tables([schemas.TEST_USES])
    store.upsert(schemas.TEST_USES, pa.Table.from_pylist([row], schemas.TEST_USES.arrow_schema), job_id)


def uses_of(store: Store, content: str) -> int:
    """Return how often the frames of an evaluation were opened."""
    rows = store.read(schemas.TEST_USES, ("job_id", "content")).to_pylist()
    return len({row["job_id"] for row in rows if row["content"] == content})
