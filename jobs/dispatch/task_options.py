"""Jobs of the queue that are no runs, as selections or trainings are, with their options as a server receives them.

`model_dump(mode="json")` gives plain values, which the records of a job keep: the names of the fields are a format.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from jobs.core.choices import Balance, CompareBy, ExportFormat, MediaMode, SplitBy
from jobs.core.errors import UserError
from jobs.core.naming import wrong_with
from jobs.datasets.export import ExportRequest
from jobs.datasets.export_classes import ClassChoice
from jobs.datasets.frame_map import MapRequest
from jobs.datasets.frame_sampling import SelectRequest
from jobs.datasets.splitting import length_of
from jobs.evaluation.options import EvaluateOptions
from jobs.storage.paths import Place
from jobs.training.options import TrainOptions
from transforms.curate.strategy import Strategy

TaskKind = Literal["select", "release", "export", "train", "evaluate", "map", "follow", "loop"]

_Name = Annotated[str, Field(min_length=1, max_length=200)]
_Sql = Annotated[str, Field(max_length=10_000)]
_Share = Annotated[float, Field(ge=0, le=1)]


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SelectOptions(_Options):
    """Options of `winnow select`."""

    name: _Name = "selection"
    strategy: Strategy = "diverse"
    n: Annotated[int, Field(ge=1, le=2**31)] | None = None
    fraction: _Share | None = None
    balance: Annotated[tuple[Balance, ...], Field(max_length=3)] = ()
    after: Annotated[tuple[_Name, ...], Field(max_length=100)] = ()
    by: CompareBy | None = None
    quality: _Share = 0.5
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    where: _Sql | None = None
    run: _Name | None = None
    release: _Name | None = None

    def request(self) -> SelectRequest:
        """Return the request of these options."""
        return SelectRequest(
            self.name,
            self.strategy,
            self.n,
            self.fraction,
            self.balance,
            self.after,
            self.where,
            self.quality,
            self.seed,
            self.by,
            self.run,
            self.release,
        )


class ReleaseOptions(_Options):
    """Options of `winnow release create`."""

    name: _Name
    run: _Name | None = None
    note: Annotated[str, Field(max_length=10_000)] | None = None
    streams: Annotated[tuple[_Name, ...], Field(max_length=100_000)] = ()


class MapOptions(_Options):
    """Options of `winnow map`."""

    by: CompareBy = "embedding"
    neighbours: Annotated[int, Field(ge=2, le=1000)] = 15
    min_distance: _Share = 0.1
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0

    def request(self) -> MapRequest:
        """Return the request of these options."""
        return MapRequest(self.by, self.neighbours, self.min_distance, self.seed)


class ExportOptions(_Options):
    """Options of `winnow export`, but for the place: an export that a job makes is a file to download."""

    format: ExportFormat
    run: _Name | None = None
    release: _Name | None = None
    where: _Sql | None = None
    selection: _Name | None = None
    everything: bool = False
    split: Annotated[dict[_Name, Annotated[float, Field(gt=0, le=1)]], Field(max_length=20)] = {}
    split_by: SplitBy = "auto"
    block: Annotated[str, Field(max_length=40)] | None = None
    guard: Annotated[str, Field(max_length=40)] | None = None
    near_duplicates: bool = False
    max_leak: _Share | None = None
    strict: bool = False
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    media: Literal["copy", "none"] | None = None
    min_score: _Share | None = None
    only_reviewed: bool = False
    classes: Annotated[tuple[_Name, ...], Field(max_length=10_000)] = ()
    renamed: Annotated[dict[_Name, _Name], Field(max_length=10_000)] = {}
    class_order: Annotated[tuple[_Name, ...], Field(max_length=10_000)] = ()

    def request(self, out: Place) -> ExportRequest:
        """Return the request of these options for a place. Raises `UserError` for a length that is none."""
        media: MediaMode | None = self.media
        return ExportRequest(
            self.format,
            out,
            self.run,
            self.release,
            self.where,
            self.selection,
            self.everything,
            dict(self.split),
            self.split_by,
            self.seed,
            media,
            self.min_score,
            self.only_reviewed,
            ClassChoice(self.classes, dict(self.renamed), self.class_order),
            length_of("block", self.block),
            length_of("guard", self.guard),
            self.near_duplicates,
            self.max_leak,
            self.strict,
            overwrite=True,
        )


class FollowedObject(_Options):
    """An object as a person left it: its box in pixels, left, top, width and height."""

    object_id: _Name
    category: _Name
    bbox: tuple[float, float, float, float]


class FollowOptions(_Options):
    """Objects of a frame that are followed over the next ones; `h` begins the frame's content hash."""

    stream: Annotated[str, Field(min_length=1, max_length=1000)]
    idx: Annotated[int, Field(ge=0, lt=2**63)]
    h: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    objects: Annotated[tuple[FollowedObject, ...], Field(min_length=1, max_length=200)]
    frames: Annotated[int, Field(ge=1, le=1024)] = 32
    weights: _Name = "sam2-tiny"


class LoopJobOptions(_Options):
    """The loop whose steps a job does; its own options are in its records."""

    loop: _Name


TaskOptions = (
    SelectOptions
    | ReleaseOptions
    | ExportOptions
    | TrainOptions
    | EvaluateOptions
    | MapOptions
    | FollowOptions
    | LoopJobOptions
)

OPTIONS: Mapping[TaskKind, type[TaskOptions]] = {
    "select": SelectOptions,
    "release": ReleaseOptions,
    "export": ExportOptions,
    "train": TrainOptions,
    "evaluate": EvaluateOptions,
    "map": MapOptions,
    "follow": FollowOptions,
    "loop": LoopJobOptions,
}


def kind_of(options: TaskOptions) -> TaskKind:
    """Return the kind of a job by its options."""
    return next(kind for kind, model in OPTIONS.items() if isinstance(options, model))


def parse(kind: str, values: Mapping[str, Any]) -> TaskOptions:
    """Return options from the plain values of a record. Raises `UserError` for those of another version."""
    model = next((model for name, model in OPTIONS.items() if name == kind), None)
    if model is None:
        raise UserError(f"a job of the kind {kind!r} was submitted by another version; this one knows {list(OPTIONS)}")
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise UserError(
            [f"{kind}: {'.'.join(map(str, found['loc']))}: {found['msg']}" for found in error.errors()]
        ) from error


def check(options: TaskOptions, place: Place) -> None:
    """Raise `UserError` for what can be seen to be wrong without reading a table."""
    if isinstance(options, ReleaseOptions):
        if wrong := wrong_with("release", options.name):
            raise UserError(wrong)
    elif isinstance(options, TrainOptions):
        options.check()
    elif isinstance(options, EvaluateOptions):
        options.measured()
    elif isinstance(options, FollowOptions | LoopJobOptions):
        return
    elif isinstance(options, SelectOptions):
        if wrong := wrong_with("selection", options.name):
            raise UserError(wrong)
        if (options.n is None) == (options.fraction is None):
            raise UserError("n and fraction: expected one of them")
    elif isinstance(options, ExportOptions):
        options.request(place)
        # They become names of folders.
        if wrong_names := [name for name in options.split if not name.isidentifier()]:
            raise UserError(f"split: expected names of letters, digits and underscores, found {wrong_names[0]!r}")
        if options.split and abs(sum(options.split.values()) - 1) > 1e-6:
            raise UserError(f"split: expected fractions that add up to 1, found {sum(options.split.values()):g}")
