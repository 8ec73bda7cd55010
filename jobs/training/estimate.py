"""How long a training takes and how much memory, from three steps of it, before an hour is spent."""

from __future__ import annotations

import math
import resource
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from jobs.training.networks import Base, network_of
from jobs.training.options import TRAIN, VAL, TrainOptions
from jobs.training.training_data import LabelledImage, TrainingData

STEPS = 3


@dataclass(frozen=True)
class TrainingEstimate:
    """What a training of these options takes on this machine.

    `step_s`: seconds of a step, the median of three after one that is not counted. `frame_s`: seconds to measure an
    image of val. `minutes`: of all epochs with their measuring, without early ends. `memory_bytes`: the most that this
    process had, on a GPU what torch had there.
    """

    step_s: float
    frame_s: float
    minutes: float
    memory_bytes: int


def estimate(base: Base, data: TrainingData, options: TrainOptions) -> TrainingEstimate:
    """Do a few steps with the objects of a training on images of noise, since its own are not copied yet.

    Changes nothing; the network is thrown away. Raises `UserError` for a base that cannot be loaded.
    """
    import torch

    if options.threads:
        torch.set_num_threads(options.threads)
    network = network_of(base, data.classes, options.size)
    images = sorted(data.images[TRAIN], key=lambda image: -len(image.boxes))
    # From the middle: batches with as many objects as there usually are.
    first = max(0, len(images) // 2 - options.batch // 2)
    some = images[first : first + options.batch]
    optimizer = torch.optim.AdamW(network.module.parameters())
    device = next(network.module.parameters()).device
    seconds = []
    for _ in range(STEPS + 1):
        began = time.perf_counter()
        pixels = [_noise(image) for image in some]
        boxes = [image.boxes[~image.crowd] for image in some]
        labels = [image.labels[~image.crowd] for image in some]
        network.module.train()
        given = _moved(network.batch(pixels, boxes, labels), device)
        network.module(**given)["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - began)
    began = time.perf_counter()
    network.find([_noise(data.images[VAL][0])])
    frame_s = time.perf_counter() - began
    step_s = float(np.median(seconds[1:]))
    steps = math.ceil(len(images) / options.batch)
    epoch_s = steps * step_s + len(data.images[VAL]) * frame_s
    return TrainingEstimate(step_s, frame_s, options.epochs * epoch_s / 60, _memory(torch))


def _noise(image: LabelledImage) -> Any:
    random = np.random.default_rng(image.frame_idx)
    return random.integers(0, 256, (image.height, image.width, 3), dtype=np.uint8)


def _moved(value: Any, device: Any) -> Any:
    """Return a batch on a device, as the Trainer moves it."""
    if isinstance(value, dict):
        return {name: _moved(each, device) for name, each in value.items()}
    if isinstance(value, list):
        return [_moved(each, device) for each in value]
    return value.to(device) if hasattr(value, "to") else value


def _memory(torch: Any) -> int:
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    # Kilobytes, but bytes on macOS.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
