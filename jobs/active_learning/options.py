"""Options of a loop of active learning, as commands, records and servers have them: the names are a format."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from jobs.core.choices import ReviewFormat
from jobs.core.errors import UserError
from jobs.evaluation.options import Measured, measured
from jobs.training.options import TEST, TRAIN, VAL, TrainOptions

Policy = Literal["uncertain", "random"]
"""How frames are chosen: the most uncertain ones and some at random, or all of them at random."""

Step = Literal["annotate", "route", "escalate", "review", "release", "train", "evaluate", "promote", "decide"]

STEPS: tuple[Step, ...] = (
    "annotate",
    "route",
    "escalate",
    "review",
    "release",
    "train",
    "evaluate",
    "promote",
    "decide",
)
"""The steps of a round, in order."""

METRICS = ("AP", "AP50", "AP75")
_CHOSEN_BY_LOOP = ("release", "model", "name", "minutes", "note")

_Name = Annotated[str, Field(min_length=1, max_length=200)]
_Text = Annotated[str, Field(min_length=1, max_length=4096)]


class LoopOptions(BaseModel):
    """What a loop is to reach, from what, and within which limits.

    `name`: of the loop, and of the model whose versions it trains. `inputs`, `profile`, `settings`: as of a run, for
    the annotation of each round. `model`: what the first training starts from; later ones start from the loop's present
    version, unless `from_base`. `weights`: what annotates before there is a version of the model; none has the first
    round choose at random. `on`: what versions are measured on. `target`: a figure there, as in `AP50=0.9`.

    `people`: frames that people review in all; `per_round`: at most in one round, an equal share by default.
    `random_share`: the share of a round's frames that chance chooses, so that it is known what uncertainty misses.
    `min_reviewed`: the share of a round's frames that has to be reviewed before it continues. `wait_hours`: how long it
    waits for that; then half of them is enough. `larger`: frames of each round that the larger detector processes which
    the setting `route.larger` names. `questions`: to a vision language model in each round, `usd` what they may cost in
    all. `minutes`: of training in all. `patience`: rounds without a gain after which it ends. `promote`:
    whether a better version becomes champion, and not only challenger. `training`: options of `winnow train`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: _Name
    inputs: Annotated[tuple[_Text, ...], Field(min_length=1)]
    model: _Text
    on: _Name
    target: _Name
    weights: _Text | None = None
    profile: _Name = "annotate"
    settings: tuple[str, ...] = ()
    policy: Policy = "uncertain"
    rounds: Annotated[int, Field(ge=1, le=1000)] = 6
    people: Annotated[int, Field(ge=1)] = 300
    per_round: Annotated[int, Field(ge=1)] | None = None
    random_share: Annotated[float, Field(ge=0, le=1)] = 0.1
    min_reviewed: Annotated[float, Field(gt=0, le=1)] = 1.0
    wait_hours: Annotated[float, Field(gt=0)] | None = None
    larger: Annotated[int, Field(ge=0)] = 0
    questions: Annotated[int, Field(ge=0)] = 0
    usd: Annotated[float, Field(ge=0)] = 0.0
    minutes: Annotated[float, Field(gt=0)] | None = None
    patience: Annotated[int, Field(ge=1)] = 3
    promote: bool = False
    from_base: bool = False
    training: dict[str, Any] = {}
    format: ReviewFormat = "coco"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    by: Annotated[str, Field(max_length=400)] = "unknown"

    @property
    def goal(self) -> tuple[str, float]:
        """Return the figure to reach and its value. Raises `UserError` for a target that is none."""
        name, sign, text = self.target.partition("=")
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if name not in METRICS or not sign or not 0 < value <= 1:
            raise UserError(
                f"--target {self.target}: expected a figure and its value, as in AP50=0.9; figures are "
                f"{', '.join(METRICS)}"
            )
        return name, value

    @property
    def measured(self) -> Measured:
        """Return the frames that versions are measured on. Raises `UserError` for a place that is none."""
        return measured(self.on)

    @property
    def frames_a_round(self) -> int:
        """Return how many frames people are asked about in one round, at most."""
        return self.per_round or -(-self.people // self.rounds)

    def train_options(self, release: str, model: str, minutes: float | None, note: str) -> TrainOptions:
        """Return the options of a training. Raises `UserError` for options that no training has.

        Frames that nobody has reviewed teach nothing, unless `training` says otherwise.
        """
        is_split = bool(self.measured.split)
        split = {TRAIN: 0.8, VAL: 0.1, TEST: 0.1} if is_split else {TRAIN: 0.8, VAL: 0.2}
        if wrong := [key for key in self.training if key in _CHOSEN_BY_LOOP]:
            raise UserError(f"--train {wrong[0]}: the loop decides that itself")
        given = {"only_reviewed": True, "split": split, "seed": self.seed, **self.training}
        given |= {"release": release, "model": model, "name": self.name, "minutes": minutes, "note": note}
        try:
            options = TrainOptions.model_validate(given)
        except ValidationError as error:
            raise UserError(
                [f"--train {'.'.join(map(str, found['loc']))}: {found['msg']}" for found in error.errors()]
            ) from error
        options.check()
        return options
