"""One run, from inputs to heads: catalogue, plan, pixel pass, table stages, summary."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import polars as pl
import pyarrow as pa

import schemas
from conf import Loaded
from jobs import catalogue, maintenance, selection
from jobs.catalogue import Admission
from jobs.commit import Committer
from jobs.engine import EngineOnDemand, check_address
from jobs.errors import RunFailedError, one_line
from jobs.memory import give_back
from jobs.modelstages import ModelStages
from jobs.pipeline import build, pixel_params
from jobs.pixelpass import PassResult, run_pass
from jobs.plan import Listed, PixelPlan, Planner
from jobs.quarantine import settle
from jobs.runs import RunRecord, close_dead_runs, new_job_id
from jobs.stage import Stage
from jobs.store import ConflictError, Snapshot, Store
from jobs.streams import StreamFiles
from jobs.tables import TableStages
from jobs.workspace import Workspace

_OPS_FILES = 8


@dataclass(frozen=True)
class RunRequest:
    """What a user asks for: inputs, configuration, and what is allowed."""

    workspace: Workspace
    inputs: Sequence[str]
    loaded: Loaded
    admission: Admission = field(default_factory=Admission)
    limit: int | None = None
    ray_address: str | None = None


class Watcher(Protocol):
    """Is told how a run goes on; a progress bar, say.

    `interrupted` says whether the run was asked to end. The KeyboardInterrupt that this raises can come out as another
    error, where it falls between the steps of a lock or of a library.
    """

    interrupted: bool

    def began(self, what: str, total: int | None) -> None:
        """Take note that a part of the run began, which has so many frames to do."""

    def advanced(self, frames: int) -> None:
        """Take note that so many more frames are done."""


class Unwatched:
    """Watches nothing."""

    interrupted = False

    def began(self, what: str, total: int | None) -> None:
        """Do nothing."""

    def advanced(self, frames: int) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class Prepared:
    """A run that nothing speaks against: its streams are listed, nothing is written yet."""

    request: RunRequest
    store: Store
    stages: tuple[Stage, ...]
    streams: list[StreamFiles]

    @property
    def n_frames(self) -> int:
        """Return the number of frames in all streams."""
        return sum(s.n_frames for s in self.streams)


def prepare(request: RunRequest) -> Prepared:
    """Check everything that can be checked before any work. Raises `UserError` with all that is wrong."""
    config = request.loaded.config
    stages = build(config)
    for stage in stages:
        # A parameter without a canonical form has to be refused before anything is written.
        _ = stage.key
    check_address(request.ray_address)
    store = Store(request.workspace.root)
    streams = catalogue.catalogue(request.inputs, config.ingest, request.admission, store)
    return Prepared(request, store, stages, streams)


def run(request: RunRequest, watcher: Watcher | None = None) -> RunRecord:
    """Run a pipeline to its end and return its record, state `done`.

    Raises `UserError` before any work if something is wrong with what is asked, and `RunFailedError` if the run cannot
    go on; whatever was committed by then is found done by the next run. A KeyboardInterrupt leaves it `cancelled`.
    """
    prepared = prepare(request)
    request.workspace.create()
    with EngineOnDemand(request.loaded.config.resources, request.ray_address) as engine:
        if _has_new_frames(prepared):
            engine.begin()
        return _run(prepared, watcher or Unwatched(), engine)


def _run(prepared: Prepared, watcher: Watcher, engine: EngineOnDemand) -> RunRecord:
    request, store = prepared.request, prepared.store
    record = RunRecord(
        job_id=new_job_id(),
        config=request.loaded.config,
        profile=request.loaded.profile,
        inputs=[str(i) for i in request.inputs],
        streams=[s.stream_id for s in prepared.streams],
        frames=prepared.n_frames,
        stages=prepared.stages,
    )
    store.create_tables()
    close_dead_runs(store, record.job_id)
    record.save(store)
    try:
        _Execution(prepared, record, watcher, engine).execute()
    except BaseException as error:
        interrupted = watcher.interrupted or isinstance(error, KeyboardInterrupt)
        record.state = "cancelled" if interrupted else "failed"
        record.error = "interrupted" if interrupted else one_line(error) or type(error).__name__
        record.ended_ns = time.time_ns()
        _save_anyway(record, store)
        if interrupted:
            raise KeyboardInterrupt from error
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            raise RunFailedError(f"the workspace cannot be written: {one_line(error)}") from error
        if isinstance(error, ConflictError):
            raise RunFailedError(f"{error}; run again when the other runs are done") from error
        raise
    return record


def _has_new_frames(prepared: Prepared) -> bool:
    """Say whether a look at the heads alone shows that there are frames to measure, before the plan is made."""
    heads = prepared.store.read(schemas.HEADS, ("stream_id", "stage_key"))
    shown = set(zip(heads["stream_id"].to_pylist(), heads["stage_key"].to_pylist(), strict=True))
    keys = [s.key for s in prepared.stages if s.kind == "pixels"]
    return any((stream.stream_id, key) not in shown for stream in prepared.streams for key in keys)


def _save_anyway(record: RunRecord, store: Store) -> None:
    # The disk that stopped the run may not take its epitaph either; the next run closes the record.
    with suppress(Exception):
        record.save(store)


class _Execution:
    """The steps of one run, in order."""

    def __init__(self, prepared: Prepared, record: RunRecord, watcher: Watcher, engine: EngineOnDemand) -> None:
        self._engine = engine
        self._request = prepared.request
        self._config = prepared.request.loaded.config
        self._store = prepared.store
        self._stages = prepared.stages
        self._streams = prepared.streams
        self._record = record
        self._watcher = watcher

    def execute(self) -> None:
        listing = catalogue.record(self._streams, self._store, self._record.job_id)
        listed = [Listed(s.stream_id, s.step, s.n_frames) for s in self._streams]
        # The names of millions of files need not be held any longer.
        self._streams.clear()
        give_back()
        before, result = self._measure(listed, listing)
        after = before
        if result.n_frames or any(before.gone.values()):
            after = Planner(self._store, self._stages, listed, listing).survey()
        self._account(before, after, result)
        self._update_streams()
        give_back()
        self._decide()
        self._finish()

    def _measure(self, listed: Sequence[Listed], listing: Snapshot) -> tuple[PixelPlan, PassResult]:
        planner = Planner(self._store, self._stages, listed, listing)
        plan = planner.survey()
        pixels = [s for s in self._stages if s.kind == "pixels"]
        every_s = self._config.resources.commit_seconds
        committer = Committer(self._store, pixels, planner.snapshots, self._record.job_id, every_s)
        for name, keys in plan.gone.items():
            committer.remove(name, pa.concat_tables(keys))
        limit = self._request.limit
        total = plan.n_open if limit is None else min(plan.n_open, limit)
        if total:
            self._watcher.began("measure", total)
        result = run_pass(
            planner.todo(),
            pixels,
            self._config,
            pixel_params(self._config),
            self._engine,
            committer,
            self._store.root,
            limit,
            self._watcher.advanced,
        )
        return plan, result

    def _account(self, before: PixelPlan, after: PixelPlan, result: PassResult) -> None:
        """Hold frames in against rows out and quarantined, for every pixel stage."""
        job_id = self._record.job_id
        open_faults = settle(self._store, self._stages, self._record.streams, result.faults, job_id)
        for stage in self._stages:
            if stage.kind != "pixels":
                continue
            then, now = before.stage_total(stage.name), after.stage_total(stage.name)
            outcome = self._record.outcomes[stage.name]
            outcome.frames_in = now.n_frames
            outcome.computed = result.computed.get(stage.name, 0)
            outcome.quarantined = open_faults.get(stage.name, 0)
            outcome.reused = max(0, now.n_frames - now.missing - outcome.computed)
            outcome.removed = then.gone
            outcome.seconds = result.seconds
            outcome.state = "done"
            if now.missing > outcome.quarantined and self._request.limit is None:
                raise RunFailedError(
                    f"stage {stage.name}: {now.n_frames} frames in, {now.n_frames - now.missing} rows out and "
                    f"{outcome.quarantined} quarantined; run again to compute the rest"
                )
        self._record.counts = result.tally()
        if result.first_commit_ns:
            self._record.counts["first_commit_ms"] = (result.first_commit_ns - self._record.started_ns) // 1_000_000
        self._record.frames_per_second = result.frames_per_second

    def _update_streams(self) -> None:
        """Write what reading told about the streams: frames that do not decode, and picture sizes."""
        frames = next(s for s in self._stages if s.name == "frames")
        names = frozenset(self._record.streams)
        snapshot = self._store.open(schemas.FRAMES)
        columns = ("stream_id", "status", "width", "height")
        group = ["stream_id", "status", "width", "height"]
        counted = [
            pl.DataFrame(pa.Table.from_batches([batch])).group_by(group).len()
            for batch in snapshot.batches(columns, frames.key, names)
        ]
        if not counted:
            return
        sizes = pl.concat(counted).group_by(group).agg(pl.col("len").sum()).sort("len", "width", descending=True)
        found: dict[str, dict[str, Any]] = {name: {"n_bad": 0, "sizes": []} for name in names}
        for row in sizes.iter_rows(named=True):
            entry = found[row["stream_id"]]
            if row["status"] != "ok":
                entry["n_bad"] += row["len"]
            else:
                entry["sizes"].append({"width": row["width"], "height": row["height"], "n_frames": row["len"]})
        n_bad = sum(entry["n_bad"] for entry in found.values())
        for stage in self._stages:
            self._record.outcomes[stage.name].corrupt = n_bad
        known = self._store.read(schemas.STREAMS).to_pylist()
        changed = [
            row | found[row["stream_id"]]
            for row in known
            if row["stream_id"] in found and row | found[row["stream_id"]] != row
        ]
        if changed:
            rows = pa.Table.from_pylist(changed, schemas.STREAMS.arrow_schema)
            self._store.upsert(schemas.STREAMS, rows, self._record.job_id)

    def _decide(self) -> None:
        tables = TableStages(self._store, self._stages, self._config, self._record.streams, self._record.job_id)
        models = ModelStages(self._store, self._stages, self._config, self._record.streams, self._record.job_id)
        for stage in self._stages:
            if stage.kind == "model":
                self._look(models, stage)
            if stage.kind != "table":
                continue
            self._watcher.began(stage.name, None)
            outcome = self._record.outcomes[stage.name]
            result = tables.run(stage)
            give_back()
            outcome.frames_in = self._record.frames
            outcome.computed, outcome.reused, outcome.seconds = result.computed, result.reused, result.seconds
            outcome.state = "done"

    def _look(self, models: ModelStages, stage: Stage) -> None:
        """Show to a model what it has not seen yet."""
        watcher = self._watcher
        result = models.run(stage, self._engine, self._request.limit, watcher.began, watcher.advanced)
        outcome = self._record.outcomes[stage.name]
        outcome.frames_in = result.after.wanted
        outcome.computed = result.did.computed.get(stage.table.name, 0)
        outcome.quarantined = result.quarantined
        outcome.reused = max(0, result.after.wanted - result.after.open - outcome.computed)
        outcome.removed = result.before.n_gone
        outcome.seconds = result.did.seconds
        outcome.state = "done"

    def _finish(self) -> None:
        self._watcher.began("finish", None)
        job_id = self._record.job_id
        self._move_heads()
        for table in schemas.ALL:
            give_back()
            maintenance.compact(self._store, table, job_id, more_than=1 if table.has_stage_key else _OPS_FILES)
        self._record.versions = selection.versions(self._store)
        self._record.ended_ns = time.time_ns()
        self._record.state = "done"
        self._record.save(self._store)

    def _move_heads(self) -> None:
        now = time.time_ns()
        wanted = [
            {
                "stream_id": stream,
                "stage": stage.name,
                "stage_key": stage.key,
                "job_id": self._record.job_id,
                "moved_ns": now,
            }
            for stream in self._record.streams
            for stage in self._stages
        ]
        shown = {(r["stream_id"], r["stage"]): r["stage_key"] for r in self._store.read(schemas.HEADS).to_pylist()}
        moved = [row for row in wanted if shown.get((row["stream_id"], row["stage"])) != row["stage_key"]]
        if moved:
            rows = pa.Table.from_pylist(moved, schemas.HEADS.arrow_schema)
            self._store.upsert(schemas.HEADS, rows, self._record.job_id)


def summary(record: RunRecord) -> dict[str, Any]:
    """Return a run as programs read it; see `winnow run --json`."""
    seconds = ((record.ended_ns or time.time_ns()) - record.started_ns) / 1e9
    return {
        "job_id": record.job_id,
        "state": record.state,
        "parent": record.parent,
        "profile": record.profile,
        "streams": list(record.streams),
        "frames": record.frames,
        "stages": {
            name: {
                "computed": o.computed,
                "reused": o.reused,
                "corrupt": o.corrupt,
                "quarantined": o.quarantined,
                "removed": o.removed,
                "seconds": round(o.seconds, 3),
            }
            for name, o in record.outcomes.items()
        },
        "counts": record.counts,
        "seconds": round(seconds, 3),
        "frames_per_second": round(record.frames_per_second, 1),
        "versions": record.versions,
        "error": record.error,
    }
