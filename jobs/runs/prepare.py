"""Request of a run, and the checks of it before any work: what is wrong is reported while nothing is written yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import schemas
from conf import Loaded
from conf.loader import to_dict
from jobs.core.choices import OnError
from jobs.core.errors import UserError
from jobs.core.stage import Stage
from jobs.engine.ray_engine import check_address
from jobs.ingest import catalogue, chunks
from jobs.ingest.catalogue import IngestOverrides
from jobs.ingest.stream_listing import StreamFiles
from jobs.models.remote_models import check_server
from jobs.passes.pixel_plan import Listed
from jobs.runs import registered_models, replay_spec
from jobs.runs.replay_spec import Replay
from jobs.stages.build import build
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.storage.written_tables import refuse_losses
from transforms.core.frame_spans import FrameSpans


@dataclass(frozen=True)
class RunRequest:
    """What a user asks for: inputs, configuration, and what is allowed.

    `strict` calls bad frames an error; `one_stage` has the run pause when it is through with one.
    """

    workspace: Workspace
    inputs: Sequence[str]
    loaded: Loaded
    overrides: IngestOverrides = field(default_factory=IngestOverrides)
    limit: int | None = None
    ray_address: str | None = None
    on_error: OnError = "quarantine"
    pause_after: str | None = None
    replay: Replay | None = None
    strict: bool = False
    one_stage: bool = False

    def as_data(self) -> dict[str, Any]:
        """Return what was requested as plain values, of which `jobs.runs.replay.from_data` makes the same request."""
        return {
            "profile": self.loaded.profile,
            "config": to_dict(self.loaded.config),
            "inputs": [str(i) for i in self.inputs],
            "stream_ids": list(self.overrides.stream_ids),
            "rebind": self.overrides.rebind,
            "allow_missing": self.overrides.allow_missing,
            "reread": self.overrides.reread,
            "limit": self.limit,
            "ray_address": self.ray_address,
            "on_error": self.on_error,
            "replay": None if self.replay is None else self.replay.as_data(),
            "strict": self.strict,
        }


@dataclass(frozen=True)
class Prepared:
    """A run that has passed all checks: its streams are listed, nothing is written yet.

    `streams` are as they are on disk now; a replay does not read that, and has none. `n_frames` are the frames that it
    is to take, of all streams.
    """

    request: RunRequest
    store: Store
    stages: tuple[Stage, ...]
    streams: list[StreamFiles]
    listed: list[Listed]
    n_frames: int = 0

    @property
    def within(self) -> Mapping[str, FrameSpans]:
        """Return the frames of streams that the run is to take, where timelines say which."""
        return {listed.stream_id: listed.within for listed in self.listed if listed.within is not None}


def prepare(request: RunRequest) -> Prepared:
    """Check everything that can be checked before any work. Raises `UserError` with all that is wrong.

    The request of what is prepared names the folders of the models that are in the registry of the workspace.
    """
    problems: list[str] = []
    stages: tuple[Stage, ...] = ()
    store = Store(request.workspace.root)
    with _noting(problems):
        request = replace(request, loaded=registered_models.resolved(request.loaded, store))
    config = request.loaded.config
    # Weights that are not there would be missed once more, or looked for on the hub.
    with _noting(problems):
        stages = () if problems else build(config)
        for stage in stages:
            # A parameter without a canonical form has to be refused before anything is written.
            _ = stage.key
    with _noting(problems):
        check_address(request.ray_address)
    with _noting(problems):
        check_server(stages)
    if problems and not request.replay:
        with _noting(problems):
            if chunks.resolved(store, request.inputs, request.overrides.stream_ids) is None:
                catalogue.catalogue(request.inputs, config.ingest, request.overrides, store)
    if problems:
        raise UserError(problems)
    # A run over a table that was lost would make a new one, and hide what other streams had in it.
    refuse_losses(store)
    if request.replay:
        listed = replay_spec.listed(store, request.replay.streams)
        return Prepared(request, store, stages, [], listed, sum(s.n_frames for s in listed))
    with store.cached_reads():
        named = chunks.resolved(store, request.inputs, request.overrides.stream_ids)
        inputs, overrides = request.inputs, request.overrides
        if named is not None:
            inputs, overrides = named.inputs, replace(overrides, stream_ids=named.stream_ids)
        streams = catalogue.catalogue(inputs, config.ingest, overrides, store)
    spans = {} if named is None else named.spans
    taken = [int(spans[s.stream_id].holds(s.frame_idx).sum()) if s.stream_id in spans else s.n_frames for s in streams]
    listed = [Listed(s.stream_id, s.step, s.n_frames, within=spans.get(s.stream_id)) for s in streams]
    return Prepared(request, store, stages, streams, listed, sum(taken))


@contextmanager
def _noting(problems: list[str]) -> Iterator[None]:
    """Collect what is wrong, so that the rest is checked all the same."""
    try:
        yield
    except UserError as error:
        problems += error.problems


def n_new_frames(prepared: Prepared) -> int:
    """Return how many frames are new going by the heads alone, before the plan is made."""
    heads = prepared.store.read(schemas.HEADS, ("stream_id", "stage_key"))
    shown = set(zip(heads["stream_id"].to_pylist(), heads["stage_key"].to_pylist(), strict=True))
    keys = [s.key for s in prepared.stages if s.kind == "pixels"]
    return sum(s.n_frames for s in prepared.listed if any((s.stream_id, key) not in shown for key in keys))
