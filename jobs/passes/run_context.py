"""Context that all stages of a run share, and the interface of their runners."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from conf import PipelineConfig
from jobs.core.stage import Stage
from jobs.engine.lazy_engine import LazyEngine
from jobs.passes.pixel_plan import Listed, StagePlan
from jobs.records.job_claim import JobClaim
from jobs.records.run_events import RunReporter
from jobs.records.run_record import RunRecord, StageOutcome
from jobs.storage.store import Snapshot, Store
from transforms.core.frame_spans import FrameSpans


@dataclass(frozen=True)
class LiveRun:
    """What there is of a run only while it is in progress.

    `abort`: the first frame that cannot be computed ends the run. `limit`: the most frames that the pixel pass may
    measure. `only_quarantined`: it measures quarantined frames alone. `unread` has the frames of each stream of which
    some had to be read to know whether they have changed; the pixel pass fills it.
    """

    record: RunRecord
    claim: JobClaim
    reporter: RunReporter
    engine: LazyEngine
    abort: bool = False
    limit: int | None = None
    only_quarantined: bool = False
    unread: dict[str, int] = field(default_factory=dict)

    def outcome(self, stage: Stage) -> tuple[StageOutcome, StageOutcome]:
        """Return the outcome of a stage, to be filled in, and what an earlier part of the run did for it."""
        return self.record.outcomes[stage.name], self.record.earlier[stage.name]


def _never_ends() -> None:
    """Do nothing."""


@dataclass(frozen=True)
class RunContext:
    """What the stages of a run share: its tables, its stages with their configuration, and its streams.

    `listed` are the streams with their numbers of frames, `listing` the version of their listing that counts. `reread`:
    size and mtime are no reason to trust a file. `recompute` names the stage that is to be computed even if it is done.
    `live` is None for a run that is only forecast.
    """

    store: Store
    stages: Sequence[Stage]
    config: PipelineConfig
    streams: Sequence[str]
    job_id: str
    listed: Sequence[Listed] = ()
    listing: Snapshot | None = None
    reread: bool = False
    recompute: str | None = None
    live: LiveRun | None = None

    @property
    def by_name(self) -> Mapping[str, Stage]:
        """Return the stages by their names."""
        return {stage.name: stage for stage in self.stages}

    @property
    def check(self) -> Callable[[], None]:
        """Return what raises `RunStopped` once the run is asked to end."""
        return self.live.claim.check if self.live else _never_ends

    @property
    def now(self) -> LiveRun:
        """Return the run that is in progress."""
        assert self.live is not None
        return self.live

    @property
    def within(self) -> Mapping[str, FrameSpans]:
        """Return the frames that the run is to take, of streams of which these are not all."""
        return {listed.stream_id: listed.within for listed in self.listed if listed.within is not None}

    def recomputes(self, stage: Stage) -> bool:
        """Say whether a stage is to be computed even if it is done."""
        return stage.name == self.recompute


@dataclass(frozen=True)
class ScopeState:
    """A scope of a table stage: the digest of its input now, and whether its rows were computed from just that."""

    scope: str
    input_id: int
    done: bool


@dataclass(frozen=True)
class Survey:
    """How a stage stands, in frames.

    Of `frames` that there are, the stage is to have rows for those that are `wanted`. `missing` ones have no row,
    `outdated` ones a row from another input; of `unread` ones only their bytes can tell. `gone` rows have no frame.
    `streams` has the same of each stream for stages that read pixels, `scopes` the state of those of a table stage.
    """

    frames: int = 0
    wanted: int = 0
    missing: int = 0
    outdated: int = 0
    unread: int = 0
    gone: int = 0
    streams: Mapping[str, StagePlan] = field(default_factory=dict)
    scopes: Sequence[ScopeState] = ()

    @property
    def open(self) -> int:
        """Return how many frames have to be computed for certain."""
        return self.missing + self.outdated


class Runner(Protocol):
    """What runs the stages of one kind."""

    def __init__(self, context: RunContext) -> None:
        """Make the runner of a run."""

    def survey(self, stage: Stage) -> Survey:
        """Return how a stage stands, from the tables as they are."""

    def run(self, stage: Stage) -> bool:
        """Bring a stage up to date, account for it, and return whether there was anything to compute.

        Raises `RunStopped` where the run was asked to end before that, and `RunFailedError` where frames are
        unaccounted for.
        """
