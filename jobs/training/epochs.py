"""Figures of a network after an epoch: COCO's, on the split `val`, as rows of `train_epochs` and `train_samples`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

import schemas
from jobs.storage.store import Store
from jobs.training.loop import read
from jobs.training.networks import Network
from jobs.training.options import TRAIN, VAL
from jobs.training.training_data import LabelledImage
from transforms.assess.detection_scores import Scores, score
from transforms.models.detect.detections import Detections

SCORE = "AP"
"""The figure that chooses the best epoch."""

_LEAST_SCORE = 0.5
_SAMPLES, _SAMPLE_SCORE = 8, 0.2
_AT_A_TIME = 8


def measured(
    network: Network, images: Sequence[LabelledImage], classes: Sequence[str]
) -> tuple[Scores, list[Detections]]:
    """Return COCO's scores of a network on images, and what it found on each."""
    found: list[Detections] = []
    for first in range(0, len(images), _AT_A_TIME):
        found += network.find([read(image) for image in images[first : first + _AT_A_TIME]])
    return score(truth_of(images, classes), results_of(found), "bbox", _LEAST_SCORE), found


def truth_of(images: Sequence[LabelledImage], classes: Sequence[str]) -> dict[str, Any]:
    """Return labelled images as a COCO document: images and categories are numbered from 1."""
    annotations: list[dict[str, Any]] = []
    for at, image in enumerate(images, 1):
        for box, label, crowd in zip(image.boxes, image.labels, image.crowd, strict=True):
            left, top, right, bottom = (float(edge) for edge in box)
            wide, high = right - left, bottom - top
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": at,
                    "category_id": int(label) + 1,
                    "bbox": [left, top, wide, high],
                    "area": wide * high,
                    "iscrowd": int(crowd),
                }
            )
    sizes = [{"id": at, "width": image.width, "height": image.height} for at, image in enumerate(images, 1)]
    categories = [{"id": at, "name": name} for at, name in enumerate(classes, 1)]
    return {"images": sizes, "annotations": annotations, "categories": categories}


def results_of(found: Sequence[Detections]) -> list[dict[str, Any]]:
    """Return what was found on images, in their order, as COCO results."""
    return [
        {
            "image_id": at,
            "category_id": int(label) + 1,
            "bbox": [float(edge) for edge in box],
            "score": float(certainty),
        }
        for at, each in enumerate(found, 1)
        for box, certainty, label in zip(each.boxes, each.scores, each.labels, strict=True)
    ]


def record(
    store: Store,
    job_id: str,
    epoch: int,
    loss: float,
    scores: Scores,
    images: Sequence[LabelledImage],
    found: Sequence[Detections],
    classes: Sequence[str],
) -> dict[str, float]:
    """Write the rows of an epoch, in place of those that an attempt before has written, and return its figures."""
    figures: dict[tuple[str, str, str], float] = {(TRAIN, "loss", ""): loss}
    figures |= {(VAL, name, ""): value for name, value in scores.metrics.items()}
    for each in scores.classes:
        figures |= {(VAL, name, each.category): getattr(each, name) for name in ("AP", "AP50", "precision", "recall")}
    rows = [
        {"job_id": job_id, "epoch": epoch, "split": split, "name": name, "category": category, "value": _known(value)}
        for (split, name, category), value in figures.items()
    ]
    store.create_tables([schemas.TRAIN_EPOCHS, schemas.TRAIN_SAMPLES])
    store.upsert(schemas.TRAIN_EPOCHS, pa.Table.from_pylist(rows, schemas.TRAIN_EPOCHS.arrow_schema), job_id)
    samples = [
        {
            "job_id": job_id,
            "epoch": epoch,
            "stream_id": image.stream_id,
            "frame_idx": image.frame_idx,
            "boxes": _boxes(some, classes),
        }
        for image, some in _spread(images, found)
    ]
    store.upsert(schemas.TRAIN_SAMPLES, pa.Table.from_pylist(samples, schemas.TRAIN_SAMPLES.arrow_schema), job_id)
    known = {name: value for name, value in scores.metrics.items() if not math.isnan(value)}
    return {"epoch": float(epoch), "loss": loss, "score": known.get(SCORE, 0.0), **known}


def _spread(images: Sequence[LabelledImage], found: Sequence[Detections]) -> list[tuple[LabelledImage, Detections]]:
    """Return eight images with what was found on them: the same ones each time, spread evenly."""
    n = min(_SAMPLES, len(images))
    return [(images[at * len(images) // n], found[at * len(images) // n]) for at in range(n)]


def _boxes(found: Detections, classes: Sequence[str]) -> list[Mapping[str, Any]]:
    return [
        {
            "category": classes[int(label)],
            "score": float(certainty),
            "bbox_x": float(box[0]),
            "bbox_y": float(box[1]),
            "bbox_w": float(box[2]),
            "bbox_h": float(box[3]),
        }
        for box, certainty, label in zip(found.boxes, found.scores, found.labels, strict=True)
        if certainty >= _SAMPLE_SCORE
    ]


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
