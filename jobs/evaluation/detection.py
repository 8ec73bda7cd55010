"""Boxes that a registered model finds on the frames of an evaluation, and the time that it takes for one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from conf.loader import load
from jobs.core.errors import UserError
from jobs.models import transformers
from jobs.models.registry import ModelVersion
from jobs.training.loop import read
from jobs.training.training_data import LabelledImage
from transforms.assess.box_matching import MOST, FoundBoxes

LEAST_SCORE = 0.001
"""Boxes from this score on count in an average precision."""


def found_on(
    version: ModelVersion,
    images: Sequence[LabelledImage],
    classes: Sequence[str],
    threads: int,
    on_frame: Callable[[], None],
) -> tuple[list[FoundBoxes], float, list[str]]:
    """Return the boxes of each image, by `classes`; the median milliseconds of a frame; categories that are none.

    `on_frame` is called before each frame; what it raises ends this. Frames come one by one, as they do to a camera.
    Raises `UserError` for weights that cannot be used.
    """
    detector = detector_of(version, threads)
    numbers = {name: at for at, name in enumerate(classes)}
    known = np.array([numbers.get(name, -1) for name in detector.names], np.int64)
    found, seconds = [], []
    for image in images:
        on_frame()
        pixels = read(image)
        began = time.perf_counter()
        (some,) = detector([pixels])
        seconds.append(time.perf_counter() - began)
        labels = known[some.labels] if len(some) else np.empty(0, np.int64)
        mine = labels >= 0
        found.append(
            FoundBoxes(some.boxes[mine].astype(np.float64), some.scores[mine].astype(np.float64), labels[mine])
        )
    others = sorted(set(detector.names) - set(classes))
    return found, 1000 * float(np.median(seconds)), others


def detector_of(version: ModelVersion, threads: int) -> Any:
    """Return the detector of a version, loaded. Raises `UserError` for weights that cannot be used."""
    settings = {
        "annotate.weights": str(version.folder),
        "annotate.detector": version.detector,
        "annotate.min_score": LEAST_SCORE,
        "annotate.max_objects": MOST,
    }
    loaded = load(settings=[f"{name}={value}" for name, value in settings.items()])
    runnable = transformers.detector(loaded.config)
    detector = runnable.detector(runnable.spec, threads)
    if not detector.names:
        raise UserError(f"{version.reference}: its weights name no categories")
    return detector
