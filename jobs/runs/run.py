"""One run, from inputs to heads: catalogue, plan, pixel pass, table stages, summary."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, NoReturn

import pyarrow as pa

import schemas
from jobs.core.errors import RunFailedError, RunStopped, UserError, one_line
from jobs.core.memory import give_back
from jobs.core.naming import new_job_id
from jobs.core.os_errors import as_problem
from jobs.core.stage import Stage
from jobs.engine.credential_forwarding import lend
from jobs.engine.lazy_engine import EngineOnDemand
from jobs.ingest import catalogue
from jobs.passes import stream_statistics
from jobs.passes.model_stages import ModelStages
from jobs.passes.pixel_pass import PassResult, run_pass
from jobs.passes.pixel_plan import PixelPlan, Planner
from jobs.passes.refresh_other_streams import follow
from jobs.passes.table_stages import TableStages
from jobs.records.job_claim import Hold
from jobs.records.journal import Journal
from jobs.records.run_events import Teller, Unwatched, Watcher
from jobs.records.run_record import RunRecord, close_dead_runs
from jobs.runs import replay_spec
from jobs.runs.prepare import Prepared, RunRequest, n_new_frames, prepare
from jobs.stages.pipeline import MEASURE, pixel_params, step_named, written_by
from jobs.storage import heads, maintenance
from jobs.storage.committer import Committer
from jobs.storage.quarantine import update_quarantine
from jobs.storage.store import ConflictError, Snapshot, Store
from jobs.storage.workspace import Workspace
from jobs.views import snapshot_spec, table_diff
from jobs.vlm.vlm_stage import Escalation

__all__ = ["RunRequest", "run"]

_OPS_FILES = 8


def run(
    request: RunRequest,
    watcher: Watcher | None = None,
    job_id: str | None = None,
    claimed: bool = False,
    release: Callable[[RunRecord], dict[str, Any]] | None = None,
) -> RunRecord:
    """Run a pipeline and return its record: state `done`, or `paused` or `cancelled` if that was asked of the job.

    With `job_id` it takes up that job, which was paused, has failed, or was `claimed` for this process by a gateway.
    `release` is called with the record before the job is said to be done, and what it returns is put down.
    Raises `UserError` before any work if something is wrong with what is asked, and `RunFailedError` if the run cannot
    go on; whatever was committed by then is found done by whoever resumes it. A KeyboardInterrupt leaves it `paused`.
    """
    watcher = watcher or Unwatched()
    step = step_named(request.pause_after, request.loaded.config) if request.pause_after else None
    prepared = prepare(request)
    request.workspace.create()
    record = RunRecord(
        job_id=job_id or new_job_id(),
        config=request.loaded.config,
        profile=request.loaded.profile,
        inputs=[str(i) for i in request.inputs],
        streams=[s.stream_id for s in prepared.listed],
        frames=prepared.n_frames,
        stages=prepared.stages,
        parent=request.replay.parent if request.replay else None,
    )
    hold = Hold.take(prepared.store.root, record.job_id, watcher, request.as_data(), claimed)
    hold.pause_later(step, request.one_stage)
    journal = Journal.of(prepared.store.root, record.job_id)
    teller = Teller(watcher, journal)
    try:
        lent = lend([prepared.store.root, *request.inputs])
        with EngineOnDemand(request.loaded.config.resources, request.ray_address, lent) as engine:
            if n := min(n_new_frames(prepared), prepared.n_frames if request.limit is None else request.limit):
                engine.begin(n)
            engine.meanwhile = hold.check
            _begin(record, prepared.store, teller)
            _Execution(prepared, record, teller, engine, hold).execute()
        if release is not None:
            teller.released(release(record))
        hold.let_go("done", {"error": record.shortcoming} if request.strict and record.shortcoming else None)
    except BaseException as error:
        _end(error, record, prepared.store, hold, interrupted=watcher.interrupted)
    finally:
        teller.ended(record)
        journal.close()
    return record


def _begin(record: RunRecord, store: Store, teller: Teller) -> None:
    with store.cached_reads():
        store.create_tables(written_by(record.stages), at_hand=(schemas.RUNS, schemas.STAGE_RUNS))
        close_dead_runs(store, record.job_id)
        record.take_up(store)
    record.save(store)
    teller.started(record)


def _end(error: BaseException, record: RunRecord, store: Store, hold: Hold, interrupted: bool) -> None:
    """Put down how a run ended before its end, in its records first; raise what its caller should know."""
    if record.state == "done":
        # It was interrupted while it was leaving.
        hold.let_go("done")
        raise error
    if _is_deleted(store):
        # What is left of the run must not bring the folder back.
        record.state, record.error, record.ended_ns = "failed", "its workspace was deleted", time.time_ns()
        raise RunFailedError(
            f"workspace {store.root} was deleted while the run was at work; to compute it all anew, run again"
        ) from error
    interrupted = interrupted or isinstance(error, KeyboardInterrupt)
    state = error.state if isinstance(error, RunStopped) else "paused" if interrupted else "failed"
    lost = isinstance(error, OSError) and not isinstance(error, BrokenPipeError)
    said = as_problem(error, f"workspace {store.root}") if isinstance(error, OSError) else one_line(error)
    record.error = (said or type(error).__name__) if state == "failed" else None
    record.ended_ns = time.time_ns()
    record.state = state
    # The disk that stopped the run may not take its epitaph either; the next run closes the record.
    with suppress(Exception):
        record.state = hold.let_go(state, {"error": record.error} if record.error else None)
        record.save(store)
    if isinstance(error, RunStopped):
        return
    if interrupted:
        raise KeyboardInterrupt from error
    if lost:
        raise RunFailedError(said) from error
    if isinstance(error, ConflictError):
        raise RunFailedError(f"{error}; run again when the other runs are done") from error
    raise error


def _is_deleted(store: Store) -> bool:
    """Say whether the workspace is known to be gone."""
    with suppress(OSError, UserError):
        return not Workspace(store.root).exists
    return False


class _Execution:
    """The steps of one run, in order."""

    def __init__(
        self, prepared: Prepared, record: RunRecord, teller: Teller, engine: EngineOnDemand, hold: Hold
    ) -> None:
        self._engine = engine
        self._request = prepared.request
        self._config = prepared.request.loaded.config
        self._store = prepared.store
        self._stages = prepared.stages
        self._streams = prepared.streams
        self._listed = prepared.listed
        self._replay = prepared.request.replay
        self._record = record
        self._teller = teller
        self._hold = hold
        self._doubtful: dict[str, int] = {}
        self._heads: int | None = None

    def execute(self) -> None:
        if self._replay:
            listing = self._store.open(schemas.LISTING)
        else:
            listing = catalogue.record(self._streams, self._store, self._record.job_id)
        # The names of millions of files need not be held any longer.
        self._streams.clear()
        give_back()
        if self._replay and self._replay.again:
            self._do_again(self._replay.again, listing)
            return
        before, result = self._measure(listing)
        if result.stopped:
            self._leave(before, result)
        after = before
        if result.n_frames or any(before.gone.values()):
            try:
                after = Planner(self._store, self._stages, self._listed, listing).survey(self._hold.check)
            except RunStopped:
                self._leave(before, result)
        self._account(before, after, result)
        self._update_streams()
        give_back()
        self._hold.finished(MEASURE, self._record.earlier["frames"].state != "done" or result.n_frames > 0)
        self._decide()
        self._finish()

    def _measure(self, listing: Snapshot, again: str | None = None) -> tuple[PixelPlan, PassResult]:
        planner = Planner(self._store, self._stages, self._listed, listing, again, self._request.admission.reread)
        plan = planner.survey(self._hold.check)
        unread = {name for (_, name), counts in plan.counts.items() if counts.unread}
        self._doubtful = {s.stream_id: s.n_frames for s in self._listed if s.stream_id in unread}
        pixels = [s for s in self._stages if s.kind == "pixels"]
        every_s = self._config.resources.commit_seconds
        told = self._teller.committed
        committer = Committer(self._store, pixels, planner.snapshots, self._record.job_id, every_s, told)
        for name, keys in plan.gone.items():
            committer.remove(name, pa.concat_tables(keys))
        limit = self._request.limit
        if limit is not None:
            limit = max(0, limit - self._record.earlier_counts.get("frames_visited", 0))
        total = plan.n_open if limit is None else min(plan.n_open, limit)
        if total:
            self._teller.began(MEASURE, total)
        todo, params = planner.todo(), pixel_params(self._config)
        result = run_pass(
            replay_spec.only_quarantined(todo, self._store) if self._replay and self._replay.quarantined else todo,
            pixels,
            self._config,
            replace(params, stages=(again,)) if again else params,
            self._engine,
            self._engine.local_pool,
            committer,
            self._store.root,
            limit,
            self._teller.measured,
            hold=self._hold,
            abort=self._request.on_error == "abort",
            again=frozenset([again] if again else []),
        )
        return plan, result

    def _leave(self, plan: PixelPlan, result: PassResult) -> NoReturn:
        """Account for a pass that was asked to end, and end."""
        record = self._record
        update_quarantine(self._store, self._stages, record.streams, result.faults, record.job_id)
        for stage in self._stages:
            if stage.kind == "pixels":
                outcome, total = record.outcomes[stage.name], plan.stage_total(stage.name)
                outcome.frames_in = total.n_frames
                outcome.computed = record.earlier[stage.name].computed + result.computed.get(stage.name, 0)
                outcome.verified = record.earlier[stage.name].verified + result.verified.get(stage.name, 0)
                outcome.seconds = record.earlier[stage.name].seconds + result.seconds
                outcome.state = "paused"
        self._tally(result)
        raise RunStopped(self._hold.asked() or "paused")

    def _tally(self, result: PassResult) -> None:
        record = self._record
        before = record.earlier_counts
        record.counts = before | {name: n + before.get(name, 0) for name, n in result.tally().items()}
        if result.first_commit_ns and "first_commit_ms" not in before:
            record.counts["first_commit_ms"] = (result.first_commit_ns - record.started_ns) // 1_000_000
        record.frames_per_second = result.frames_per_second or record.frames_per_second

    def _account(self, before: PixelPlan, after: PixelPlan, result: PassResult) -> None:
        """Hold frames in against rows out and quarantined, for every pixel stage."""
        job_id = self._record.job_id
        open_faults = update_quarantine(self._store, self._stages, self._record.streams, result.faults, job_id)
        for stage in self._stages:
            if stage.kind != "pixels":
                continue
            then, now = before.stage_total(stage.name), after.stage_total(stage.name)
            outcome = self._record.outcomes[stage.name]
            outcome.frames_in = now.n_frames
            earlier = self._record.earlier[stage.name]
            outcome.computed = earlier.computed + result.computed.get(stage.name, 0)
            outcome.quarantined = open_faults.get(stage.name, 0)
            outcome.reused = max(0, now.n_frames - now.missing - outcome.computed)
            outcome.verified = earlier.verified + result.verified.get(stage.name, 0)
            outcome.removed = earlier.removed + then.gone
            outcome.seconds = earlier.seconds + result.seconds
            outcome.state = "done"
            partial = self._request.limit is not None or (self._replay and self._replay.quarantined)
            if now.missing > outcome.quarantined and not partial:
                raise RunFailedError(
                    f"stage {stage.name}: {now.n_frames} frames in, {now.n_frames - now.missing} rows out and "
                    f"{outcome.quarantined} quarantined; run again to compute the rest"
                )
            self._teller.stage_done(stage.name, outcome)
        self._tally(result)

    def _update_streams(self) -> None:
        frames = next(s for s in self._stages if s.name == "frames")
        n_bad = stream_statistics.note(self._store, frames.key, self._record.streams, self._record.job_id)
        for stage in self._stages if n_bad is not None else ():
            self._record.outcomes[stage.name].corrupt = n_bad or 0

    def _decide(self) -> None:
        self._heads = self._store.open(schemas.HEADS).version
        names, job_id = self._record.streams, self._record.job_id
        tables = TableStages(
            self._store, self._stages, self._config, names, job_id, self._hold.check, engine=self._engine
        )
        models = ModelStages(self._store, self._stages, self._config, names, job_id)
        for stage in self._stages:
            if stage.kind == "model":
                self._look(models, stage)
            if stage.kind == "calls":
                self._ask(stage)
            if stage.kind != "table":
                continue
            earlier = self._record.earlier[stage.name]
            self._teller.began(stage.name, None)
            outcome = self._record.outcomes[stage.name]
            result = tables.run(stage)
            give_back()
            outcome.frames_in = self._record.frames
            outcome.computed = earlier.computed + result.computed
            outcome.reused = max(0, result.reused - earlier.computed)
            outcome.verified = result.verified(self._doubtful)
            outcome.seconds = earlier.seconds + result.seconds
            outcome.state = "done"
            self._teller.stage_done(stage.name, outcome)
            self._hold.finished(stage.name, earlier.state != "done" or result.computed > 0)
        follow(self._store, self._stages, names, job_id, self._hold.check, self._config.duplicates.rebuild)

    def _do_again(self, name: str, listing: Snapshot) -> None:
        """Compute one stage once more, whatever is done, and count the rows that then are not what they were."""
        stage = next(s for s in self._stages if s.name == name)
        streams = self._record.streams
        counts = self._record.counts
        # After a pause, the rows to compare with are still those of before the first attempt.
        version = counts.setdefault("version_before", self._store.open(stage.table).version)
        before = table_diff.stored(Store(self._store.root, {stage.table.name: version}), stage, streams)
        outcome = self._record.outcomes[name]
        if stage.kind == "pixels":
            _, result = self._measure(listing, name)
            if result.stopped:
                raise RunStopped(self._hold.asked() or "paused")
            update_quarantine(self._store, self._stages, streams, result.faults, self._record.job_id)
            outcome.computed, outcome.seconds = result.computed.get(name, 0), result.seconds
            outcome.quarantined = len(result.faults)
            self._tally(result)
            self._record.counts |= {"version_before": version}
        elif stage.kind == "model":
            models = ModelStages(self._store, self._stages, self._config, streams, self._record.job_id)
            self._look(models, stage, again=True)
        elif stage.kind == "calls":
            # An answer that was paid for is not asked for again.
            self._ask(stage)
        else:
            self._teller.began(name, None)
            tables = TableStages(self._store, self._stages, self._config, streams, self._record.job_id, again=name)
            done = tables.run(stage)
            outcome.computed, outcome.seconds = done.computed, done.seconds
        changed = table_diff.between(stage.table, before, table_diff.stored(self._store, stage, streams))
        self._record.counts |= {"rows": changed.n_after, "rows_changed": changed.n_differing}
        for other in self._record.outcomes.values():
            other.state = "skipped"
        outcome.frames_in, outcome.state = self._record.frames, "done"
        self._teller.stage_done(name, outcome)
        self._finish()

    def _look(self, models: ModelStages, stage: Stage, again: bool = False) -> None:
        """Show to a model what it has not seen yet."""
        outcome, earlier = self._record.outcomes[stage.name], self._record.earlier[stage.name]
        abort = self._request.on_error == "abort"
        result = models.run(stage, self._engine, self._teller, self._hold, abort, again)
        result.account(outcome, earlier)
        if result.did.stopped:
            raise RunStopped(self._hold.asked() or "paused")
        if not again:
            self._teller.stage_done(stage.name, outcome)
            self._hold.finished(stage.name, earlier.state != "done" or result.did.n_frames > 0)

    def _ask(self, stage: Stage) -> None:
        """Ask a service outside what it has not been asked yet."""
        outcome, earlier = self._record.outcomes[stage.name], self._record.earlier[stage.name]
        streams, job_id = self._record.streams, self._record.job_id
        asking = Escalation(self._store, self._stages, self._config, streams, job_id, self._hold.check)
        asking.run(lambda n: self._teller.began(stage.name, n), outcome, earlier)
        self._teller.stage_done(stage.name, outcome)
        self._hold.finished(stage.name, earlier.state != "done" or outcome.computed > earlier.computed)

    def _judge_again(self) -> None:
        """Bring verdicts up to date once more: a run that moved heads meanwhile saw ours as little as we saw its."""
        names, job_id = self._record.streams, self._record.job_id
        tables = TableStages(self._store, self._stages, self._config, names, job_id, self._hold.check)
        for stage in self._stages:
            if stage.name == "curation":
                tables.run(stage)
        follow(self._store, self._stages, names, job_id, self._hold.check, self._config.duplicates.rebuild)

    def _finish(self) -> None:
        self._teller.began("finish", None)
        job_id = self._record.job_id
        if not self._replay or self._replay.promote:
            moved = heads.move(self._store, self._record.streams, self._stages, job_id)
            if self._heads is not None and self._store.open(schemas.HEADS).version > self._heads + moved:
                self._judge_again()
        # What the run never looked at, it has not broken up.
        for table in (t for t in schemas.ALL if self._store.seen(t)):
            give_back()
            # The rest is written to by every run, and would be written anew by each.
            at_once = table.has_stage_key or table is schemas.SCOPES
            maintenance.compact(self._store, table, job_id, more_than=1 if at_once else _OPS_FILES)
        self._record.finish(self._store, snapshot_spec.versions_seen(self._store))
