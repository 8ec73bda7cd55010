"""Material for trainings: generated images of two classes, as a stream with imported ground truth, and its release."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa

import schemas
from jobs.datasets import release
from jobs.dispatch import tasks
from jobs.dispatch.job_queue import JobQueue
from jobs.evaluation import evaluation_record, test_side
from jobs.evaluation.model_figures import figures_of
from jobs.evaluation.options import Measured
from jobs.models import registry
from jobs.models.registry import ModelVersion
from jobs.models.weight_folders import digest
from jobs.records.job_claim import JobClaim
from jobs.records.journal import Journal
from jobs.records.run_events import SilentListener
from jobs.storage.spare_files import temporary_folder
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.training import epochs
from jobs.training.options import VAL, TrainOptions
from jobs.training.training_data import LabelledImage, tried
from tests.helpers import go, said, winnow, write_pictures
from transforms.assess.box_matching import FoundBoxes
from transforms.assess.detection_scores import score
from transforms.models.detect import torchvision_models
from transforms.models.detect.detections import Detections
from transforms.models.detect.torchvision_models import TINY, TorchvisionConfig

SIDE = 160
CLASSES = ("disc", "square")
SPLIT = {"train": 0.64, "val": 0.2, "test": 0.16}

Box = tuple[int, int, int, int]


def picture(seed: int) -> tuple[npt.NDArray[np.uint8], list[tuple[str, Box]]]:
    """Return an image of 160 x 160 pixels with one to three discs and squares apart, and their boxes (x, y, w, h)."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(60, 200, (5, 5, 3), dtype=np.uint8)
    image = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    image = np.clip(image + rng.normal(0, 8, image.shape), 0, 255).astype(np.uint8)
    objects: list[tuple[str, Box]] = []
    cells = rng.permutation(4)[: rng.integers(1, 4)]
    for cell in cells:
        side = int(rng.integers(24, 56))
        x = int(cell % 2) * 80 + int(rng.integers(2, 78 - side))
        y = int(cell // 2) * 80 + int(rng.integers(2, 78 - side))
        kind = CLASSES[int(rng.integers(2))]
        # Discs are rather blue, squares rather red.
        colour = [int(value) for value in rng.integers(0, 120, 3)]
        colour[0 if kind == "disc" else 2] = int(rng.integers(160, 256))
        if kind == "disc":
            radius = side // 2
            cv2.circle(image, (x + radius, y + radius), radius, colour, -1, cv2.LINE_AA)
            objects.append((kind, (x, y, 2 * radius + 1, 2 * radius + 1)))
        else:
            cv2.rectangle(image, (x, y), (x + side - 1, y + side - 1), colour, -1)
            objects.append((kind, (x, y, side, side)))
    return image, objects


def labelled_workspace(folder: Path, n: int = 60, name: str = "v1") -> Workspace:
    """Return a workspace with a stream of `n` such images, their boxes as ground truth, and a release of it."""
    pictures = [picture(seed) for seed in range(n)]
    stream = write_pictures(folder / "shapes", [image for image, _ in pictures])
    workspace = Workspace.at(folder / "ws")
    go(workspace, stream)
    labels = folder / "labels.json"
    labels.write_text(json.dumps(coco(pictures)))
    said(winnow("labels", "import", labels, "--format", "coco", "--name", "truth", "-w", workspace.root, "--json"))
    release.create(Store(workspace.root), name)
    return workspace


def registered(workspace: Workspace, name: str, seed: int = 0, **more: Any) -> ModelVersion:
    """Register a small detector with random weights as a version of a model, as if it had been trained on release v1.

    `more` are columns of `models`.
    """
    import torch

    config = TorchvisionConfig(TINY, CLASSES, 96)
    torch.manual_seed(seed)
    place = f"weights/{name}-{seed}"
    folder = workspace.folder / place
    folder.mkdir(parents=True)
    torchvision_models.save(folder, torchvision_models.build(config), config)
    store = Store(workspace.root)
    model_id = digest(folder)
    options = TrainOptions(release="v1", model="x", name=name, split_by="group", split=SPLIT)
    row: dict[str, Any] = {
        "model_id": model_id,
        "name": name,
        "path": str(folder),
        "base": "torchvision:fasterrcnn-tiny",
        "base_hash": "",
        "data": "",
        "data_content": "",
        "manifest": "{}",
        "params": options.model_dump_json(),
        "metrics": "{}",
        "licence": "BSD-3-Clause",
        "seconds": 1.0,
        "created_ns": 1,
        **more,
    }
    store.create_tables([schemas.MODELS])
    store.upsert(schemas.MODELS, pa.Table.from_pylist([row], schemas.MODELS.arrow_schema), f"job-{name}-{seed}")
    version = registry.register(
        store,
        {
            "name": name,
            "model_id": model_id,
            "job_id": f"job-{name}-{seed}",
            "release": "v1",
            "detector": "torchvision",
            "folder": place,
            "classes": list(CLASSES),
            "best_epoch": 1,
            "note": None,
        },
    )
    return registry.find(store, f"{name}@{version}")


def coco(pictures: list[tuple[npt.NDArray[np.uint8], list[tuple[str, Box]]]]) -> dict[str, Any]:
    """Return the objects of images as a COCO document, whose files are named as `write_pictures` does."""
    numbers = {name: at for at, name in enumerate(CLASSES, 1)}
    annotations: list[dict[str, Any]] = []
    for at, (_, objects) in enumerate(pictures, 1):
        for kind, box in objects:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": at,
                    "category_id": numbers[kind],
                    "bbox": list(box),
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
            )
    images = [
        {"id": at, "file_name": f"image_{at - 1}.png", "width": SIDE, "height": SIDE}
        for at in range(1, len(pictures) + 1)
    ]
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in numbers.items()],
    }


def epochs_of(workspace: Workspace, job_id: str, name: str = "AP50") -> list[tuple[int, float | None]]:
    """Return a figure of each epoch of a training, in order."""
    rows = Store(workspace.root).read(schemas.TRAIN_EPOCHS).to_pylist()
    mine = [r for r in rows if (r["job_id"], r["name"], r["category"]) == (job_id, name, "")]
    return sorted((row["epoch"], row["value"]) for row in mine)


def trained(
    workspace: Workspace, name: str, shares: Sequence[float], is_done: bool = True, **options: Any
) -> tuple[str, TrainOptions]:
    """Write what a training leaves: a job, figures and samples of epochs, by the product's own writers.

    After each epoch the network finds a share of the objects of val exactly, those of the first images. Returns the id
    of the job, which still runs unless `is_done`, and its options.
    """
    plain: dict[str, Any] = {"release": "v1", "model": "torchvision:fasterrcnn-tiny", "name": name, "size": 96}
    plain |= {"split_by": "group", "split": SPLIT, "epochs": max(1, len(shares))}
    asked = TrainOptions(**(plain | options))
    job_id = tasks.submit(workspace, asked)
    queue = JobQueue(workspace.root)
    [job] = [each for each in queue.live() if each.job_id == job_id]
    queue.claim(job)
    claim = JobClaim.take(workspace.root, job_id, SilentListener(), claimed=True)
    with closing(Journal.of(workspace.root, job_id)) as journal:
        journal.write("run_started", at_ns=time.time_ns(), data={"profile": "train", "stages": ["train"]})
        journal.write("stage_started", stage="train")
    figures = trained_further(workspace, job_id, asked, shares)
    result = {"model": f"{name}@1", "best_epoch": len(shares), "AP": figures.get("AP"), "release": "v1"}
    if is_done:
        claim.release("done", {"result": result})
    return job_id, asked


def trained_further(
    workspace: Workspace, job_id: str, asked: TrainOptions, shares: Sequence[float], first: int = 1
) -> dict[str, float]:
    """Write epochs of a training, from a number on, each of one step, and return the figures of the last one."""
    with temporary_folder() as folder:
        data = tried(workspace, asked, folder)
    images = data.images[VAL]
    figures: dict[str, float] = {}
    with closing(Journal.of(workspace.root, job_id)) as journal:
        for epoch, share in enumerate(shares, first):
            found = [_exactly(image, at < round(share * len(images))) for at, image in enumerate(images)]
            scores = score(epochs.truth_of(images, data.classes), epochs.results_of(found), "bbox", 0.5)
            store = Store(workspace.root)
            figures = epochs.record(store, job_id, epoch, 2.0 / epoch, scores, images, found, data.classes)
            journal.write("train_epoch", stage="train", data=figures, seconds=1.0)
            step = {"epoch": epoch, "step": epoch, "steps": asked.epochs, "loss": 2.0 / epoch, "learning_rate": 1e-3}
            journal.write("train_step", stage="train", data=step)
    return figures


def _exactly(image: LabelledImage, is_found: bool) -> Detections:
    """Return the objects of an image as a network finds them that knows them, or none."""
    corners = image.boxes if is_found else image.boxes[:0]
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    labels = image.labels[: len(boxes)]
    return Detections(boxes.astype(np.float32), np.full(len(boxes), 0.9, np.float32), labels)


def placed(workspace: Workspace, name: str, figure: float, **more: Any) -> ModelVersion:
    """Register a version of a model whose weights are a file that no detector reads, as if release v1 had made it.

    `figure` is its AP on val; `more` are columns of `models`.
    """
    store = Store(workspace.root)
    place = f"weights/{name}-{figure:g}"
    folder = workspace.folder / place
    folder.mkdir(parents=True)
    (folder / "weights.txt").write_text(f"{name} {figure}")
    model_id = digest(folder)
    options = TrainOptions(release="v1", model="x", name=name, split_by="group", split=SPLIT)
    row: dict[str, Any] = dict.fromkeys(("base_hash", "data", "data_content"), "")
    row |= {"model_id": model_id, "name": name, "path": str(folder), "base": "torchvision:fasterrcnn-tiny"}
    row |= {"manifest": "{}", "params": options.model_dump_json(), "metrics": json.dumps({"AP": figure})}
    row |= {"licence": "BSD-3-Clause", "seconds": 61.0, "created_ns": time.time_ns(), **more}
    store.create_tables([schemas.MODELS])
    store.upsert(schemas.MODELS, pa.Table.from_pylist([row], schemas.MODELS.arrow_schema), f"job-{place}")
    version: dict[str, Any] = {
        "name": name,
        "model_id": model_id,
        "job_id": f"job-{place}",
        "release": "v1",
        "folder": place,
    }
    version |= {"detector": "torchvision", "classes": list(CLASSES), "best_epoch": 3, "note": None}
    return registry.find(store, f"{name}@{registry.register(store, version)}")


def evaluated(workspace: Workspace, *found: tuple[ModelVersion, float]) -> list[str]:
    """Record evaluations of models on the sealed frames of release v1, and return their ids.

    Each finds a share of the objects exactly: those of the first frames. The last one is compared with the first one.
    """
    store = Store(workspace.root)
    with temporary_folder() as folder:
        side = test_side.opened(workspace, Measured("v1", "test"), found[0][0], folder / "test")
    known = []
    for version, share in found:
        boxes = [_found_boxes(image, at < round(share * len(side.images))) for at, image in enumerate(side.images)]
        figures = figures_of(side, boxes)
        evaluation_id = evaluation_record.id_of(version, side)
        job_id = f"job-{evaluation_id[:6]}"
        evaluation_record.record(store, job_id, evaluation_id, version, side, boxes, figures, 12.5, ())
        test_side.record_use(store, job_id, version, side, "tests")
        known.append(evaluation_record.Evaluated(evaluation_id, version, figures))
    if len(known) > 1:
        evaluation_record.record_comparison(store, "job-compare", side, known[-1], known[0])
    return [each.evaluation_id for each in known]


def _found_boxes(image: LabelledImage, is_found: bool) -> FoundBoxes:
    found = _exactly(image, is_found)
    return FoundBoxes(found.boxes.astype(np.float64), found.scores.astype(np.float64), found.labels)
