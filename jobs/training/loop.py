"""The loop of a training: transformers' Trainer, with checkpoints that are whole or not there, and an end on request.

A training that ends early, or is killed, and continues has the weights that it would have had: images are drawn and
altered by hashes, and checkpoints hold all that the loop depends on. On a CPU that is so bit for bit.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from jobs.core.errors import RunFailedError
from jobs.storage import spare_files
from jobs.training.networks import Network
from jobs.training.training_data import LabelledImage
from transforms.training.augmentation import PRESETS, augmented
from transforms.training.hashed_random import epoch_order, generator_for
from transforms.training.preset import Preset

_CHECKPOINTS = "checkpoints"
_PART = "part"
_PROGRESS = "progress.json"
_KEPT = 2
_BAD_STEPS = 10
_WARM_UP = 0.05
_WEIGHT_DECAY = 1e-4
_CLIP = 10.0
_SAID_S = 2.0
_NAMES = "names"


@dataclass(frozen=True)
class LoopParams:
    """How to train: passes over the images, images at a time, and what randomness and rate depend on."""

    epochs: int
    batch: int
    seed: int
    learning_rate: float
    augment: Preset


@dataclass
class TrainingProgress:
    """What a checkpoint knows besides the states of the network and of its optimiser.

    `history`: for each finished epoch its figures. `best`: the epoch of the highest `score`, or None. `losses`: sum and
    number of the steps of the epoch that is under way. `seconds` of training so far, over all attempts.
    """

    history: list[dict[str, float]] = field(default_factory=list)
    best: int | None = None
    score: float = -1.0
    losses: tuple[float, int] = (0.0, 0)
    seconds: float = 0.0


@dataclass(frozen=True)
class Hooks:
    """What the loop asks and says.

    `wants_end`: whether to stop, with a checkpoint, after the step; asked after each. `epoch_done`: measures the
    network after an epoch, records the figures and returns them; `score` among them decides which epoch is the best.
    `improved`: called while the network is that of the best epoch so far. `kept`: called after a checkpoint.
    `is_over`: whether to end after an epoch. `step_done`: a step's figures, every two seconds at most.
    """

    wants_end: Callable[[], bool]
    epoch_done: Callable[[int, float, float], dict[str, float]]
    improved: Callable[[int], None]
    kept: Callable[[TrainingProgress], None]
    is_over: Callable[[TrainingProgress], bool]
    step_done: Callable[[Mapping[str, float]], None]


class DivergedError(Exception):
    """The loss was no number for ten steps in a row; the message names the images of the last one."""


def fit(
    network: Network, images: Sequence[LabelledImage], params: LoopParams, folder: Path, hooks: Hooks
) -> tuple[TrainingProgress, bool]:
    """Train a network on images, from the last checkpoint in the folder on if there is one.

    Returns the progress, and whether it ended on request, with epochs left. Raises `DivergedError`.
    """
    last = last_checkpoint(folder)
    progress = _read_progress(last) if last else TrainingProgress()
    if len(progress.history) >= params.epochs or hooks.is_over(progress):
        return progress, False
    loop = _Loop(network, images, params, folder, hooks, progress)
    loop.run(last)
    return progress, loop.ended_early


def last_checkpoint(folder: Path) -> Path | None:
    """Return the newest whole checkpoint of a training, None for none."""
    there = folder / _CHECKPOINTS
    found = [path for path in there.glob("step-*") if (path / _PROGRESS).is_file()] if there.is_dir() else []
    return max(found, key=lambda path: int(path.name.removeprefix("step-")), default=None)


def forget_newest(folder: Path) -> None:
    """Delete the newest checkpoint where there is an older one, to continue from that."""
    if (last := last_checkpoint(folder)) and len(list((folder / _CHECKPOINTS).glob("step-*"))) > 1:
        shutil.rmtree(last)


def _read_progress(checkpoint: Path) -> TrainingProgress:
    values = json.loads((checkpoint / _PROGRESS).read_text(encoding="utf-8"))
    values["losses"] = tuple(values["losses"])
    return TrainingProgress(**values)


class _Images:
    """The images of a training, by epoch and position, as a torch dataset."""

    def __init__(self, images: Sequence[LabelledImage], params: LoopParams) -> None:
        self._images = images
        self._params = params

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, at: tuple[int, int]) -> tuple[Any, Any, Any, str]:
        epoch, position = at
        image = self._images[position]
        pixels = read(image)
        learnt = ~image.crowd
        random = generator_for(self._params.seed, epoch, image.name)
        found = augmented(pixels, image.boxes[learnt], PRESETS[self._params.augment], random)
        return found.image, found.boxes, image.labels[learnt][found.kept], str(image.file)


def read(image: LabelledImage) -> Any:
    """Return the pixels of an image, (H, W, 3) uint8 BGR. Raises `RunFailedError` for one that cannot be read."""
    import cv2

    data = np.fromfile(image.file, np.uint8)
    pixels = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None or pixels.shape[:2] != (image.height, image.width):
        raise RunFailedError(f"{image.file}: expected an image of {image.width}x{image.height}, which it was")
    return pixels


class _Order:
    """Yields (epoch, position) in the order of an epoch, as a torch sampler."""

    def __init__(self, images: Sequence[LabelledImage], seed: int) -> None:
        self._names = [image.name for image in images]
        self._seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch = self.epoch
        return iter([(epoch, int(at)) for at in epoch_order(self._seed, epoch, self._names)])


class _Loop:
    """One attempt at a training."""

    def __init__(
        self,
        network: Network,
        images: Sequence[LabelledImage],
        params: LoopParams,
        folder: Path,
        hooks: Hooks,
        progress: TrainingProgress,
    ) -> None:
        self.ended_early = False
        self._network = network
        self._params = params
        self._folder = folder / _CHECKPOINTS
        self._hooks = hooks
        self._progress = progress
        self._images = images
        self._order = _Order(images, params.seed)
        self._steps = math.ceil(len(images) / params.batch)
        self._bad = 0
        self._began = time.monotonic() - progress.seconds
        self._said = 0.0

    def run(self, last: Path | None) -> None:
        """Train until the last epoch, or until the hooks end it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        spare_files.clear(self._folder, "step", _PART)
        trainer = self._trainer()
        trainer.train(resume_from_checkpoint=str(last) if last else None)

    def _trainer(self) -> Any:
        import transformers
        from torch.utils.data import DataLoader

        loop = self

        class Trainer(transformers.Trainer):  # type: ignore[misc] # it is not typed
            """Takes order and checkpoints from this loop."""

            def get_train_dataloader(self) -> Any:
                images: Any = _Images(loop._images, loop._params)
                order: Any = loop._order
                loader: Any = DataLoader(
                    images,
                    batch_size=loop._params.batch,
                    sampler=order,
                    collate_fn=loop._collate,
                )
                return self.accelerator.prepare(loader)

            def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
                given = dict(inputs)
                named = given.pop(_NAMES)
                loss = super().training_step(model, given, num_items_in_batch)
                loop._stepped(float(loss), named, model)
                return loss

            def _get_output_dir(self, trial: Any) -> str:  # noqa: ARG002 # by name
                return str(loop._part)

            def _save_checkpoint(self, model: Any, trial: Any) -> None:
                shutil.rmtree(loop._part, ignore_errors=True)
                super()._save_checkpoint(model, trial)
                loop._keep(self.state.global_step)

        class Events(transformers.TrainerCallback):  # type: ignore[misc] # it is not typed
            """Passes the events of the Trainer on."""

            def on_epoch_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
                loop._order.epoch = state.global_step // loop._steps

            def on_step_end(self, _args: Any, state: Any, control: Any, **more: Any) -> None:
                loop._say(state, more["lr_scheduler"].get_last_lr()[0])
                # The end of an epoch has a checkpoint anyway, after it was measured.
                if state.global_step % loop._steps and loop._hooks.wants_end():
                    loop.ended_early = True
                    control.should_save = control.should_training_stop = True

            def on_epoch_end(self, _args: Any, state: Any, control: Any, **_: Any) -> None:
                if loop.ended_early:
                    return
                loop._measure(state.global_step // loop._steps)
                control.should_save = True
                left = len(loop._progress.history) < loop._params.epochs
                if loop._hooks.is_over(loop._progress):
                    control.should_training_stop = True
                elif left and loop._hooks.wants_end():
                    loop.ended_early = control.should_training_stop = True

        params = self._params
        arguments = transformers.TrainingArguments(
            output_dir=str(self._folder / "unused"),
            num_train_epochs=params.epochs,
            per_device_train_batch_size=params.batch,
            learning_rate=params.learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=int(_WARM_UP * params.epochs * self._steps),
            weight_decay=_WEIGHT_DECAY,
            max_grad_norm=_CLIP,
            optim="adamw_torch",
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            remove_unused_columns=False,
            dataloader_num_workers=0,
            dataloader_pin_memory=False,
            seed=params.seed,
            logging_nan_inf_filter=False,
        )
        trainer = Trainer(model=self._network.module, args=arguments, callbacks=[Events()])
        # It prints to the terminal.
        trainer.remove_callback(transformers.PrinterCallback)
        return trainer

    @property
    def _part(self) -> Path:
        return self._folder / spare_files.spare_name("step", _PART)

    def _collate(self, some: Sequence[tuple[Any, Any, Any, str]]) -> dict[str, Any]:
        images, boxes, labels, names = (list(part) for part in zip(*some, strict=True))
        return {**self._network.batch(images, boxes, labels), _NAMES: names}

    def _stepped(self, loss: float, named: Sequence[str], module: Any) -> None:
        if math.isfinite(loss) and _are_finite(module):
            self._bad = 0
            total, n = self._progress.losses
            self._progress.losses = (total + loss, n + 1)
            return
        # Such a step teaches nothing, and would spoil all weights.
        self._bad += 1
        for parameter in module.parameters():
            parameter.grad = None
        if self._bad >= _BAD_STEPS:
            raise DivergedError(", ".join(named))

    def _say(self, state: Any, rate: float) -> None:
        now = time.monotonic()
        if now < self._said + _SAID_S:
            return
        self._said = now
        total, n = self._progress.losses
        self._hooks.step_done(
            {
                "epoch": state.global_step / self._steps,
                "step": state.global_step,
                "steps": self._params.epochs * self._steps,
                "loss": total / n if n else math.nan,
                "learning_rate": float(rate),
            }
        )

    def _measure(self, epoch: int) -> None:
        progress = self._progress
        total, n = progress.losses
        progress.seconds = time.monotonic() - self._began
        figures = self._hooks.epoch_done(epoch, total / n if n else math.nan, progress.seconds)
        progress.history.append(figures)
        progress.losses = (0.0, 0)
        if figures["score"] > progress.score:
            progress.score, progress.best = figures["score"], epoch
            self._hooks.improved(epoch)

    def _keep(self, step: int) -> None:
        """Put a checkpoint that is complete in its place, and delete older ones."""
        (made,) = self._part.iterdir()
        self._progress.seconds = time.monotonic() - self._began
        (made / _PROGRESS).write_text(json.dumps(vars(self._progress)))
        sync(made)
        target = self._folder / f"step-{step}"
        # The end of an attempt can save one step twice.
        shutil.rmtree(target, ignore_errors=True)
        os.replace(made, target)
        sync(self._folder)
        shutil.rmtree(self._part, ignore_errors=True)
        there = sorted(self._folder.glob("step-*"), key=lambda path: int(path.name.removeprefix("step-")))
        for old in there[:-_KEPT]:
            shutil.rmtree(old)
        self._hooks.kept(self._progress)


def _are_finite(module: Any) -> bool:
    """Say whether all gradients of a network are numbers; one that is none would spoil all weights."""
    import torch

    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    return not gradients or bool(torch.isfinite(torch.nn.utils.get_total_norm(gradients)))


def sync(folder: Path) -> None:
    """Have the files of a folder, and their names, on disk."""
    for path in [*folder.iterdir(), folder]:
        if path.is_dir() and path != folder:
            continue
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
