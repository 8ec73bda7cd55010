"""Options of a training on a release, as commands, records of jobs and servers have them: the names are a format."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from jobs.core.choices import SplitBy
from jobs.core.errors import UserError
from jobs.core.naming import wrong_with
from transforms.training.preset import Preset

TRAIN, VAL, TEST = "train", "val", "test"
"""The splits of a training: what it learns from, what chooses the best epoch, and what it never sees."""

TRAININGS = "training"
"""The folder of a workspace that has the images and checkpoints of trainings."""

_Name = Annotated[str, Field(min_length=1, max_length=200)]
_Share = Annotated[float, Field(gt=0, lt=1)]


class TrainOptions(BaseModel):
    """What to train, on which frames of a release, and how.

    `model`: `torchvision:ARCHITECTURE`, a name of the catalogue, or a folder as transformers writes it. `split`: the
    shares of train, val and, if it is to be there, test. `pseudo`: objects that no person has confirmed count from this
    score on; None for all. `size`: the longest side of an image for torchvision, both sides for a transformer, in
    pixels. `learning_rate`: None for what suits the model. `patience`: epochs without a better AP after which it ends.
    `minutes`: the longest it may take, over all attempts. `onnx`: also write an ONNX file, if it finds the same.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    release: _Name
    model: Annotated[str, Field(min_length=1, max_length=4096)]
    name: _Name
    epochs: Annotated[int, Field(ge=1, le=10_000)] = 50
    size: Annotated[int, Field(ge=32, le=4096)] = 640
    batch: Annotated[int, Field(ge=1, le=4096)] = 8
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    augment: Preset = "standard"
    learning_rate: Annotated[float, Field(gt=0, le=1)] | None = None
    patience: Annotated[int, Field(ge=1, le=10_000)] | None = None
    minutes: Annotated[float, Field(gt=0)] | None = None
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    classes: Annotated[tuple[_Name, ...], Field(max_length=10_000)] = ()
    where: Annotated[str, Field(max_length=10_000)] | None = None
    only_reviewed: bool = False
    pseudo: Annotated[float, Field(ge=0, le=1)] | None = None
    split: Annotated[dict[_Name, _Share], Field(max_length=3)] = {TRAIN: 0.8, VAL: 0.1, TEST: 0.1}
    split_by: SplitBy = "auto"
    split_seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    allow_leaks: bool = False
    onnx: bool = True
    note: Annotated[str, Field(max_length=10_000)] | None = None

    def check(self) -> None:
        """Raise `UserError` with all that can be seen to be wrong without reading a table."""
        problems = []
        if wrong := wrong_with("model", self.name):
            problems.append(wrong)
        if "@" in self.name or ":" in self.name:
            problems.append(f"model {self.name!r}: expected a name without @ and :, which refer to its versions")
        unknown = sorted(set(self.split) - {TRAIN, VAL, TEST})
        if unknown or not {TRAIN, VAL} <= set(self.split):
            problems.append(f"split: expected {TRAIN}, {VAL} and perhaps {TEST}, found {', '.join(self.split)}")
        elif abs(sum(self.split.values()) - 1) > 1e-6:
            problems.append(f"split: expected shares that add up to 1, found {sum(self.split.values()):g}")
        if problems:
            raise UserError(problems)
