"""What a training learns from: frames of a release, written once into its folder, without the sealed test split."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

import schemas
from jobs.core.errors import UserError
from jobs.core.naming import many
from jobs.datasets.export import ExportRequest, export
from jobs.datasets.export_classes import ClassChoice
from jobs.datasets.export_manifest import MANIFEST
from jobs.storage import paths
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.training.options import TEST, TRAIN, VAL, TrainOptions
from jobs.views import final_objects, imported_labels, snapshot_spec
from jobs.views.view import View
from schemas import FRAME_KEY

_DATASET = "dataset"
_SEEN = "seen.json"
_SPLITS = (TRAIN, VAL)


@dataclass(frozen=True)
class LabelledImage:
    """An image with its objects.

    `file` has it as displayed, `width` x `height` pixels. `boxes`: left, top, right, bottom in pixels, (N, 4) float32,
    upright ones around turned objects. `labels`: index into the classes, (N,) int64. `crowd`: boxes of groups whose
    members are not separated, (N,) bool: nothing to learn from, and no error to find something in.
    """

    stream_id: str
    frame_idx: int
    file: Path
    width: int
    height: int
    boxes: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    crowd: npt.NDArray[np.bool_]

    @property
    def name(self) -> str:
        """Return what identifies it among the images of a training."""
        return f"{self.stream_id}\x1f{self.frame_idx}"


@dataclass(frozen=True)
class TrainingData:
    """The images of a training by split, without the test, and where they come from.

    `unseen`: images without objects that nobody has inspected, by split; they are left out, since nothing being on them
    is not known. `sealed`: how many images there are for the test.
    """

    classes: tuple[str, ...]
    images: Mapping[str, Sequence[LabelledImage]]
    unseen: Mapping[str, int]
    sealed: int
    manifest: Mapping[str, Any]


def tried(workspace: Workspace, options: TrainOptions, folder: Path) -> TrainingData:
    """Return what a training would learn from, without its pixels; nothing is recorded, and nothing is refused."""
    data = folder / _DATASET
    export(workspace, replace(_request(options, data), media="none", is_trial=True))
    return read_images(data, seen_frames(workspace, options.release), _SPLITS)


def prepared(workspace: Workspace, options: TrainOptions, folder: Path) -> TrainingData:
    """Write the images of a training into its folder, unless they are there already, and return them.

    The frames keep their splits for good (table `splits`). Raises `UserError` where there is nothing to learn, and
    where frames of the splits are so alike that figures would mean nothing, unless `allow_leaks`.
    """
    data = folder / _DATASET
    if not (data / MANIFEST).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        seen = seen_frames(workspace, options.release)
        (folder / _SEEN).write_text(json.dumps(sorted(seen)))
        export(workspace, _request(options, data))
    seen = {(str(stream), int(number)) for stream, number in json.loads((folder / _SEEN).read_text())}
    found = read_images(data, seen, _SPLITS)
    _check(found, options)
    return found


def _request(options: TrainOptions, out: Path) -> ExportRequest:
    return ExportRequest(
        "coco",
        paths.place(out),
        release=options.release,
        where=options.where,
        split=dict(options.split),
        split_by=options.split_by,
        seed=options.split_seed,
        media="copy",
        min_score=options.pseudo,
        only_reviewed=options.only_reviewed,
        classes=ClassChoice(options.classes),
        sealed=frozenset({TEST}),
    )


def seen_frames(workspace: Workspace, release: str) -> set[tuple[str, int]]:
    """Return the frames of a release that a detector, a person or an import has inspected."""
    store = Store(workspace.require().root)
    view = View(store, snapshot_spec.choose(store, None, release))
    looked = [view.lazy(final_objects.REVIEWED), imported_labels.frames(view.lazy)]
    if schemas.ANNOTATED.written_by in view.selection.keys:
        looked.append(view.lazy("annotated"))
    frames = pl.concat([each.select(FRAME_KEY) for each in looked]).unique().collect()
    return set(frames.iter_rows())


def read_images(data: Path, seen: set[tuple[str, int]], splits: Sequence[str]) -> TrainingData:
    """Return the images of some splits of a COCO export; those without objects only where they are among `seen`."""
    manifest = json.loads((data / MANIFEST).read_text(encoding="utf-8"))
    documents = {split: _document(data, split) for split in splits}
    names = {each["id"]: str(each["name"]) for each in documents[splits[0]]["categories"]}
    occur = {each["category_id"] for document in documents.values() for each in document["annotations"]}
    chosen = [number for number in names if number in occur]
    labels = {number: at for at, number in enumerate(chosen)}
    images: dict[str, list[LabelledImage]] = {}
    unseen: Counter[str] = Counter()
    for split, document in documents.items():
        by_image: dict[int, list[Mapping[str, Any]]] = {}
        for each in document["annotations"]:
            by_image.setdefault(each["image_id"], []).append(each)
        images[split] = []
        for each in document["images"]:
            objects = by_image.get(each["id"], [])
            if not objects and (each["stream_id"], each["frame_idx"]) not in seen:
                unseen[split] += 1
                continue
            images[split].append(_image(data, each, objects, labels))
    sealed = sum(manifest.get("sealed", {}).values())
    return TrainingData(tuple(names[n] for n in chosen), images, dict(unseen), sealed, manifest)


def _document(data: Path, split: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((data / f"annotations/instances_{split}.json").read_text(encoding="utf-8"))
    return found


def _image(
    data: Path, image: Mapping[str, Any], objects: Sequence[Mapping[str, Any]], labels: Mapping[int, int]
) -> LabelledImage:
    corners = np.array([_corners(each) for each in objects], np.float32).reshape(-1, 4)
    bounds = np.array([image["width"], image["height"]] * 2, np.float32)
    corners = np.clip(corners, 0, bounds)
    whole = ((corners[:, 2:] - corners[:, :2]) > 0).all(axis=1)
    return LabelledImage(
        str(image["stream_id"]),
        int(image["frame_idx"]),
        data / image["file_name"],
        int(image["width"]),
        int(image["height"]),
        corners[whole],
        np.array([labels[each["category_id"]] for each in objects], np.int64)[whole],
        np.array([bool(each["iscrowd"]) for each in objects], np.bool_)[whole],
    )


def _corners(annotation: Mapping[str, Any]) -> tuple[float, float, float, float]:
    """Return the edges of an object, of a turned one those of the upright box around it."""
    left, top, width, height = annotation["bbox"]
    turned = math.radians(annotation.get("attributes", {}).get("rotation") or 0.0)
    if turned:
        x, y = left + width / 2, top + height / 2
        cos, sin = abs(math.cos(turned)), abs(math.sin(turned))
        width, height = width * cos + height * sin, width * sin + height * cos
        left, top = x - width / 2, y - height / 2
    return left, top, left + width, top + height


def _check(found: TrainingData, options: TrainOptions) -> None:
    problems = []
    for split in _SPLITS:
        images = found.images[split]
        if not any(len(image.boxes) for image in images):
            more = f", and {found.unseen[split]:,} that nobody has inspected" if found.unseen.get(split) else ""
            problems.append(
                f"release {options.release}: no object to {'learn from' if split == TRAIN else 'measure with'}: "
                f"{split} has {many(len(images), 'image')} without one{more}"
            )
    if not options.allow_leaks and (leaks := _leaks(found.manifest)):
        problems.append(
            f"release {options.release}: {'; '.join(leaks)}: its figures would be too good; choose another --split-by, "
            "or train all the same with --allow-leaks"
        )
    if problems:
        raise UserError(problems)


def _leaks(manifest: Mapping[str, Any]) -> list[str]:
    found = manifest.get("split_report", {}).get("of", {})
    return [
        f"{each['leaking']['frames']:,} of {each['frames']:,} frames of {split} are next to one of {TRAIN}, or share a "
        "track or a group of duplicates with it"
        for split, each in found.items()
        if each["leaking"]["frames"]
    ]
