"""A trained detector as an ONNX file, kept only where it finds the same on real frames.

The file has the convention of D-FINE (`transforms.models.detect.layouts`), so that `annotate.detector=onnx` runs it
without torch: an image and the size in which boxes are wanted in; labels, boxes and scores out.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import schemas
from jobs.core.errors import one_line
from jobs.core.optional_packages import missing
from jobs.models.registry import ModelVersion
from jobs.models.weight_folders import digest
from jobs.storage import spare_files
from jobs.storage.store import Store
from jobs.training.loop import read
from jobs.training.training_data import LabelledImage
from transforms.assess.box_matching import overlaps
from transforms.models.detect import torchvision_models
from transforms.models.detect.detections import Detections, Thresholds
from transforms.models.detect.onnx import OnnxDetector, OnnxParams
from transforms.models.detect.pretrained import PretrainedSpec
from transforms.models.detect.torchvision_models import TorchvisionDetector

COMPARED = 100
"""Frames on which both are compared, where there are so many."""

SURE, OVERLAP, SCORES = 0.2, 0.99, 0.01
"""Every box of this score has a partner of its class: of this overlap, and this far away in score."""

_OPSET, _SUFFIX, _MOST = 17, "onnx", 300
_IN, _OUT = ("images", "orig_target_sizes"), ("labels", "boxes", "scores")


@dataclass(frozen=True)
class Parity:
    """How alike two detectors are on some frames.

    `boxes`: those of `SURE` and more that both found, or one. `lost`: those without a partner. `overlap`, `scores`: the
    smallest overlap and the largest difference of scores among partners.
    """

    frames: int
    boxes: int
    lost: int
    overlap: float
    scores: float

    @property
    def problem(self) -> str | None:
        """Return why it does not suffice, None if it does."""
        if not self.boxes:
            return f"on {self.frames} frames nothing was found with a score of {SURE:g}, which shows nothing"
        if self.lost:
            return f"{self.lost:,} of {self.boxes:,} boxes on {self.frames} frames have no partner in the other one"
        return None


@dataclass(frozen=True)
class OnnxExport:
    """What became of an export: the file, or why there is none, and how it was compared."""

    file: Path | None
    reason: str | None
    parity: Parity | None


def exported(version: ModelVersion, licence: str, images: Sequence[LabelledImage], file: Path) -> OnnxExport:
    """Write a registered detector of torchvision as an ONNX file, unless it finds something else on the images.

    A training does not fail for that: it says why there is no file.
    """
    if problems := missing("annotate", "onnx", "onnxruntime"):
        return OnnxExport(None, "; ".join(problems), None)
    if version.detector != "torchvision":
        # D-FINE's graph finds other boxes (torch 2.15, opset 17); RF-DETR needs an operator that ONNX does not have.
        return OnnxExport(None, f"torch exports the detectors of {version.detector} wrongly, or not at all", None)
    some = _spread(images)
    sizes = {(image.width, image.height) for image in some}
    if len(sizes) != 1:
        return OnnxExport(
            None, "it scales images by their own sides, a graph has one size, and the images have several", None
        )
    part = file.parent / spare_files.spare_name(file.name, "part")
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        _write(version, licence, next(iter(sizes)), part)
        found = _compared(version, some, part)
        if problem := found.problem:
            return OnnxExport(None, problem, found)
        os.replace(part, file)
        return OnnxExport(file, None, found)
    except Exception as error:
        # The exporter and the runtime raise many kinds of errors.
        return OnnxExport(None, f"{type(error).__name__}: {one_line(error)[:300]}", None)
    finally:
        part.unlink(missing_ok=True)


def _spread(images: Sequence[LabelledImage]) -> list[LabelledImage]:
    n = min(COMPARED, len(images))
    return [images[at * len(images) // n] for at in range(n)]


def _write(version: ModelVersion, licence: str, size: tuple[int, int], file: Path) -> None:
    import torch

    graph, (width, height) = _of_torchvision(version.folder, size), size
    given = (torch.zeros(1, 3, height, width), torch.tensor([[width, height]]))
    many = {name: {0: "n"} for name in _OUT}
    with warnings.catch_warnings(), torch.no_grad(), _silent():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph.eval(),
            given,
            str(file),
            input_names=list(_IN),
            output_names=list(_OUT),
            dynamic_axes=many,
            opset_version=_OPSET,
            dynamo=False,
        )
    _describe(file, version, licence)


@contextmanager
def _silent() -> Iterator[None]:
    """Drop what is written to the terminal: where it fails, the exporter prints its whole graph past Python."""
    before = [os.dup(number) for number in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for number in (1, 2):
            os.dup2(nowhere, number)
        yield
    finally:
        for number, old in zip((1, 2), before, strict=True):
            os.dup2(old, number)
            os.close(old)
        os.close(nowhere)


def _describe(file: Path, version: ModelVersion, licence: str) -> None:
    """Write categories and licence into the file, where the runtime looks for them."""
    import onnx

    model = onnx.load(str(file))
    said = {"names": repr(list(version.row["classes"])), "license": licence, "winnow": version.reference}
    onnx.helper.set_model_props(model, said)
    onnx.save(model, str(file))


def _of_torchvision(folder: Path, size: tuple[int, int]) -> Any:
    import torch

    network, _ = torchvision_models.load(folder, most=_MOST)

    class TorchvisionGraph(torch.nn.Module):
        """A detector of torchvision for images of one size, with the library's own scaling in it."""

        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: Any, orig_target_sizes: Any) -> Any:
            (found,) = self.network([images[0]])
            scale = orig_target_sizes[0].to(torch.float32) / torch.tensor([float(side) for side in size])
            return found["labels"] - 1, found["boxes"] * torch.cat([scale, scale]), found["scores"]

    return TorchvisionGraph()


def _compared(version: ModelVersion, images: Sequence[LabelledImage], file: Path) -> Parity:
    limits = Thresholds(SURE / 2, 0.65, _MOST)
    names = tuple(version.row["classes"])
    spec = PretrainedSpec("", version.detector, version.folder, version.model_id, "", names, limits, "fp32")
    ours = TorchvisionDetector(spec)
    theirs = OnnxDetector(file, OnnxParams(limits))
    boxes = lost = 0
    overlap, scores = 1.0, 0.0
    for image in images:
        pixels = read(image)
        (one,), (other,) = ours([pixels]), theirs([pixels])
        for mine, partners in ((one, other), (other, one)):
            n, gone, low, far = _partners(mine, partners)
            boxes, lost, overlap, scores = boxes + n, lost + gone, min(overlap, low), max(scores, far)
    return Parity(len(images), boxes, lost, overlap, scores)


def _partners(mine: Detections, others: Detections) -> tuple[int, int, float, float]:
    """Return the sure boxes of one, those without a partner among others, and how far partners are apart at most."""
    sure = mine.scores >= SURE
    boxes, labels = mine.boxes[sure].astype(np.float64), mine.labels[sure]
    shared = overlaps(boxes, others.boxes.astype(np.float64), np.zeros(len(others), np.bool_))
    apart = np.abs(mine.scores[sure][:, None] - others.scores[None, :])
    fits = (shared >= OVERLAP) & (apart <= SCORES) & (labels[:, None] == others.labels[None, :])
    found = fits.any(axis=1)
    if not found.any():
        return len(boxes), int((~found).sum()), 1.0, 0.0
    best = np.where(fits, shared, -1).argmax(axis=1)[found]
    rows = np.flatnonzero(found)
    return (
        len(boxes),
        int((~found).sum()),
        float(shared[rows, best].min()),
        float(apart[rows, best].max()),
    )


def recorded(store: Store, version: ModelVersion, made: OnnxExport, root: Path, job_id: str) -> dict[str, Any]:
    """Write the row of an export, and return it."""
    parity = made.parity
    row = {
        "model_id": version.model_id,
        "format": "onnx",
        "file": made.file.relative_to(root).as_posix() if made.file else None,
        "sha256": digest(made.file) if made.file else None,
        "reason": made.reason,
        "frames": parity.frames if parity else 0,
        "boxes": parity.boxes if parity else 0,
        "lost": parity.lost if parity else 0,
        "overlap": parity.overlap if parity else None,
        "scores": parity.scores if parity else None,
        "job_id": job_id,
        "created_ns": time.time_ns(),
    }
    store.create_tables([schemas.MODEL_EXPORTS])
    store.upsert(schemas.MODEL_EXPORTS, pa.Table.from_pylist([row], schemas.MODEL_EXPORTS.arrow_schema), job_id)
    return row
