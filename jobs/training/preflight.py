"""What a training would learn from, and what speaks against it, before an hour is spent."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from jobs.core.naming import many
from jobs.training.options import TRAIN, VAL, TrainOptions
from jobs.training.training_data import LabelledImage, TrainingData

FEW = 20
"""Objects of a category below which hardly anything is learnt of it."""

SMALL_PX = 8.0
"""Objects with a shorter side than that, at the size of the training, are hardly found."""

_RARE, _UNSURE = 20.0, 0.15
_STEP, _FEWEST_STEPS = 32, 4
_Z = 1.96


def preflight(data: TrainingData, options: TrainOptions, architecture: str) -> dict[str, Any]:
    """Return figures of the images of a training, as plain values, with `warnings` and `recommended`.

    `classes`: for each category and split, frames, objects and streams; sides of its objects in train in pixels at the
    training's size (the shorter one: 5 %, median, 95 %). `interval`: half the width of the 95 % confidence interval of
    the recall that so few objects of val give at worst, 1.96 sqrt(0.25 / n) (normal approximation of the binomial).
    """
    classes = {name: _class(data, at, options.size, architecture) for at, name in enumerate(data.classes)}
    found = {
        "release": options.release,
        "images": {split: len(images) for split, images in data.images.items()} | {"test": data.sealed},
        "without_objects": {split: _empty(images) for split, images in data.images.items()},
        "nobody_looked": dict(data.unseen),
        "reviewed_frames": data.manifest.get("reviewed_frames"),
        "classes": classes,
        "leaking": {
            split: each["leaking"]["frames"]
            for split, each in data.manifest.get("split_report", {}).get("of", {}).items()
        },
    }
    return found | {"warnings": list(_warnings(found)), "recommended": recommended(data, options, architecture)}


def recommended(data: TrainingData, options: TrainOptions, architecture: str) -> list[dict[str, Any]]:
    """Return options that would suit the images better, each with `option`, `value` and `reason`.

    `size`: the least multiple of 32 at which at most a twentieth of the objects of every category is under `SMALL_PX`,
    up to the longest side of the images, since larger copies show nothing new. `batch`: one with four steps an epoch.
    """
    found: list[dict[str, Any]] = []
    images = data.images[TRAIN]
    sides = {name: _sides(images, at, options.size, architecture) for at, name in enumerate(data.classes)}
    least = {name: float(np.percentile(each, 5)) for name, each in sides.items() if len(each)}
    if least and min(least.values()) < SMALL_PX:
        name = min(least, key=least.__getitem__)
        wanted = _STEP * math.ceil(options.size * SMALL_PX / max(least[name], 1e-6) / _STEP)
        most = _STEP * math.ceil(max(max(image.width, image.height) for image in images) / _STEP)
        if (size := min(wanted, most)) > options.size:
            reason = f"a twentieth of the objects of {name} is under {least[name]:.1f} px at {options.size}"
            found.append({"option": "size", "value": size, "reason": reason})
    if images and options.batch > 1 and (steps := math.ceil(len(images) / options.batch)) < _FEWEST_STEPS:
        batch = max(1, len(images) // _FEWEST_STEPS)
        if batch < options.batch:
            reason = f"an epoch of {many(len(images), 'image')} has {many(steps, 'step')}"
            found.append({"option": "batch", "value": batch, "reason": reason})
    return found


def _class(data: TrainingData, label: int, size: int, architecture: str) -> dict[str, Any]:
    counted: dict[str, Any] = {}
    for split, images in data.images.items():
        mine = [image for image in images if (image.labels == label).any()]
        counted[split] = {
            "frames": len(mine),
            "objects": sum(int((image.labels == label).sum()) for image in mine),
            "streams": len({image.stream_id for image in mine}),
        }
    sides = _sides(data.images[TRAIN], label, size, architecture)
    n = counted[VAL]["objects"]
    return counted | {
        "short_side_px": [round(float(each), 1) for each in np.percentile(sides, [5, 50, 95])] if len(sides) else None,
        "small": int((sides < SMALL_PX).sum()),
        "interval": round(_Z * math.sqrt(0.25 / n), 3) if n else None,
    }


def _sides(images: Sequence[LabelledImage], label: int, size: int, architecture: str) -> np.ndarray[Any, Any]:
    """Return the shorter side of each object of a class as the network sees it, in pixels."""
    found = [np.zeros(0)]
    for image in images:
        boxes = image.boxes[image.labels == label]
        sides = boxes[:, 2:] - boxes[:, :2]
        if architecture == "torchvision":
            scale = np.full(2, size / max(image.width, image.height))
        else:
            scale = np.array([size / image.width, size / image.height])
        found.append((sides * scale).min(axis=1) if len(sides) else np.zeros(0))
    return np.concatenate(found)


def _empty(images: Sequence[LabelledImage]) -> int:
    return sum(not len(image.boxes) for image in images)


def _warnings(found: Mapping[str, Any]) -> Iterator[str]:
    classes: Mapping[str, Any] = found["classes"]
    several = max((each[TRAIN]["streams"] for each in classes.values()), default=0) > 1
    for name, each in classes.items():
        yield from _on_class(name, each, several)
    counts = {name: each[TRAIN]["objects"] for name, each in classes.items() if each[TRAIN]["objects"]}
    if counts and max(counts.values()) > _RARE * min(counts.values()):
        most, least = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
        yield (
            f"{most} has {many(counts[most], 'object')} and {least} {counts[least]:,}: choose frames with {least} "
            "(`winnow select`, `winnow review`), or leave it out with --classes"
        )
    for split, n in found["nobody_looked"].items():
        yield f"{split}: {many(n, 'frame', 'are')} left out that have no objects, since nobody has inspected them"
    for split, n in found["leaking"].items():
        if n:
            yield f"{split} has {many(n, 'frame')} that leak from {TRAIN}: its figures will be too good"
    if not any(found["without_objects"].values()):
        yield "no frame without an object: what looks like one will be found too often; review some empty frames"


def _on_class(name: str, each: Mapping[str, Any], several: bool) -> Iterator[str]:
    """Yield what speaks against one category; `several`: whether the objects of some are in several streams."""
    n = each[TRAIN]["objects"]
    if n < FEW:
        yield f"{name}: {many(n, 'object')} to learn from; label more, expected {FEW} at least"
    if not each[VAL]["objects"]:
        yield f"{name}: no object in {VAL}, so that nothing says how well it is found; use a larger share"
    elif each["interval"] > _UNSURE:
        yield (
            f"{name}: {many(each[VAL]['objects'], 'object')} in {VAL}: its recall is known to "
            f"{each['interval']:.0%} only; "
            "label more, or give that split a larger share"
        )
    if each["small"] > 0.1 * max(n, 1):
        yield (
            f"{name}: {each['small']} of {n} objects are under {SMALL_PX:g} px at --size; use a larger one, or cut "
            "images into parts"
        )
    if n and several and each[TRAIN]["streams"] == 1:
        yield f"{name}: all objects to learn from are in one stream; what is learnt may be that place"
