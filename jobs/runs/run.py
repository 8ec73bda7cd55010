"""One run, from inputs to heads: catalogue, stages in order, summary."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import schemas
from jobs.core.errors import RunFailedError, RunStopped, UserError, one_line
from jobs.core.job_states import JobStateName
from jobs.core.memory import release_memory
from jobs.core.naming import MEASURE, new_job_id
from jobs.core.os_errors import as_problem
from jobs.core.stage import Stage
from jobs.engine import session_folders
from jobs.engine.credential_forwarding import forwarded_credentials
from jobs.engine.lazy_engine import LazyEngine
from jobs.ingest import catalogue
from jobs.passes.refresh_other_streams import refresh
from jobs.passes.run_context import LiveRun, RunContext
from jobs.passes.runners import Runners
from jobs.passes.table_stages import TableStages
from jobs.records import job_tables
from jobs.records.job_claim import JobClaim
from jobs.records.journal import Journal
from jobs.records.run_events import ProgressListener, RunReporter, SilentListener
from jobs.records.run_record import RunRecord, close_dead_runs
from jobs.runs.prepare import Prepared, RunRequest, n_new_frames, prepare
from jobs.stages.build import step_named, written_by
from jobs.storage import heads, maintenance
from jobs.storage.store import ConflictError, Store
from jobs.storage.workspace import Workspace
from jobs.storage.written_tables import record_unrecorded
from jobs.views import snapshot_spec, table_diff
from jobs.views.curation_counts import n_kept

__all__ = ["RunRequest", "run"]

_OPS_FILES = 8


def run(
    request: RunRequest,
    listener: ProgressListener | None = None,
    job_id: str | None = None,
    claimed: bool = False,
    release: Callable[[RunRecord], dict[str, Any]] | None = None,
    began_ns: int | None = None,
) -> RunRecord:
    """Run a pipeline and return its record: state `done`, or `paused` or `cancelled` if that was asked of the job.

    With `job_id` it resumes that job, which was paused, has failed, or was `claimed` for this process by a gateway.
    `release` is called with the record before the job is recorded as done, and what it returns is recorded. `began_ns`:
    from when on its time counts, in ns since 1970, where that is before now, as for a process that had to start first.
    Raises `UserError` before any work if something is wrong with the request, and `RunFailedError` if the run cannot
    continue; what was committed before is found done when it is resumed. A KeyboardInterrupt leaves it `paused`.
    """
    listener = listener or SilentListener()
    step = step_named(request.pause_after, request.loaded.config) if request.pause_after else None
    prepared = prepare(request)
    request = prepared.request
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
        started_ns=began_ns or time.time_ns(),
    )
    # Most runs start no cluster that would do so.
    session_folders.clear()
    claim = JobClaim.take(prepared.store.root, record.job_id, listener, request.as_data(), claimed)
    claim.pause_later(step, request.one_stage)
    journal = Journal.of(prepared.store.root, record.job_id)
    reporter = RunReporter(listener, journal)
    try:
        credentials = forwarded_credentials([prepared.store.root, *request.inputs])
        with LazyEngine(request.loaded.config.resources, request.ray_address, credentials) as engine:
            if n := min(n_new_frames(prepared), prepared.n_frames if request.limit is None else request.limit):
                engine.begin(n, has_models=any(stage.kind == "model" for stage in prepared.stages))
            engine.meanwhile = claim.check
            try:
                _begin(record, prepared.store, reporter)
                _Execution(prepared, record, reporter, engine, claim).execute()
            except BaseException as error:
                # Ray may end this process while it is left; others wait for what is on record.
                _record_end(error, record, prepared.store, claim, listener.interrupted)
                raise
        if release is not None:
            reporter.released(release(record))
        said = {"error": record.shortcoming} if request.strict and record.shortcoming else {}
        claim.release("done", {**said, **job_tables.as_data(prepared.store.root)})
    except BaseException as error:
        _end(error, record, prepared.store, claim, interrupted=listener.interrupted)
    finally:
        reporter.ended(record)
        journal.close()
    return record


def _begin(record: RunRecord, store: Store, reporter: RunReporter) -> None:
    with store.cached_reads():
        store.create_tables(written_by(record.stages), to_commit=(schemas.RUNS, schemas.STAGE_RUNS))
        close_dead_runs(store, record.job_id)
        record.restore_earlier(store)
    record.save(store)
    reporter.started(record)


def _record_end(error: BaseException, record: RunRecord, store: Store, claim: JobClaim, interrupted: bool) -> None:
    """Record how a run ended early, in its job log first, unless that is on record or the workspace was deleted."""
    if record.state != "running":
        return
    record.ended_ns = time.time_ns()
    if _is_deleted(store):
        # What is left of the run must not bring the folder back.
        record.state, record.error = "failed", "its workspace was deleted"
        return
    interrupted = interrupted or isinstance(error, KeyboardInterrupt)
    state: JobStateName = error.state if isinstance(error, RunStopped) else "paused" if interrupted else "failed"
    record.error = (_problem(error, store) or type(error).__name__) if state == "failed" else None
    record.state = state
    # The disk that stopped the run may not take this record either; the next run closes it.
    with suppress(Exception):
        record.state = claim.release(state, {"error": record.error} if record.error else None)
        record.save(store)


def _end(error: BaseException, record: RunRecord, store: Store, claim: JobClaim, interrupted: bool) -> None:
    """Record how a run ended early, if that is not on record; raise what its caller should know."""
    if record.state == "done":
        # It was interrupted while it was leaving.
        claim.release("done")
        raise error
    _record_end(error, record, store, claim, interrupted)
    if _is_deleted(store):
        raise RunFailedError(
            f"workspace {store.root} was deleted while the run was in progress; run again to recompute everything"
        ) from error
    if isinstance(error, RunStopped):
        return
    if interrupted or isinstance(error, KeyboardInterrupt):
        raise KeyboardInterrupt from error
    if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
        raise RunFailedError(_problem(error, store)) from error
    if isinstance(error, ConflictError):
        raise RunFailedError(f"{error}; run again when the other runs are done") from error
    raise error


def _problem(error: BaseException, store: Store) -> str:
    return as_problem(error, f"workspace {store.root}") if isinstance(error, OSError) else one_line(error)


def _is_deleted(store: Store) -> bool:
    """Say whether the workspace is known to be gone."""
    with suppress(OSError, UserError):
        return not Workspace(store.root).exists
    return False


class _Execution:
    """The steps of one run, in order."""

    def __init__(
        self, prepared: Prepared, record: RunRecord, reporter: RunReporter, engine: LazyEngine, claim: JobClaim
    ) -> None:
        request = prepared.request
        self._replay = request.replay
        self._streams = prepared.streams
        self._record = record
        self._claim = claim
        self._reporter = reporter
        self._heads: int | None = None
        live = LiveRun(
            record,
            claim,
            reporter,
            engine,
            abort=request.on_error == "abort",
            limit=request.limit,
            only_quarantined=bool(self._replay and self._replay.quarantined),
        )
        self._context = RunContext(
            prepared.store,
            prepared.stages,
            request.loaded.config,
            record.streams,
            record.job_id,
            prepared.listed,
            reread=request.overrides.reread,
            recompute=self._replay.recompute if self._replay else None,
            live=live,
        )

    def execute(self) -> None:
        store = self._context.store
        if self._replay:
            listing = store.open(schemas.LISTING)
        else:
            listing = catalogue.record(self._streams, store, self._record.job_id)
        # The names of millions of files need not be held any longer.
        self._streams.clear()
        release_memory()
        self._context = replace(self._context, listing=listing)
        runners = Runners(self._context)
        if self._context.recompute:
            self._recompute(runners, self._context.by_name[self._context.recompute])
        else:
            self._compute(runners)
        self._finish()

    def _compute(self, runners: Runners) -> None:
        """Bring all stages up to date, each after those that it reads."""
        record = self._record
        for stage in self._context.stages:
            if stage.kind != "pixels" and self._heads is None:
                self._heads = self._context.store.open(schemas.HEADS).version
            something = runners.of(stage).run(stage)
            self._reporter.stage_done(stage.name, record.outcomes[stage.name])
            first_time = record.earlier[stage.name].state != "done" or something
            if stage.kind != "pixels":
                self._claim.finished(stage.name, first_time)
            elif stage is runners.pixels.last:
                runners.pixels.note_streams()
                release_memory()
                self._claim.finished(MEASURE, first_time)
        refresh(self._context)

    def _recompute(self, runners: Runners, stage: Stage) -> None:
        """Compute one stage once more, even if it is done, and count the rows that then are not what they were."""
        store, record = self._context.store, self._record
        # After a pause, the rows to compare with are still those of before the first attempt.
        version = record.counts.setdefault("version_before", store.open(stage.table).version)
        before = table_diff.stored(Store(store.root, {stage.table.name: version}), stage, record.streams)
        runners.of(stage).run(stage)
        changed = table_diff.between(stage.table, before, table_diff.stored(store, stage, record.streams))
        record.counts |= {"rows": changed.n_after, "rows_changed": changed.n_differing}
        for other in record.outcomes.values():
            other.state = "skipped"
        outcome = record.outcomes[stage.name]
        outcome.frames_in, outcome.state = record.frames, "done"
        self._reporter.stage_done(stage.name, outcome)

    def _count_kept(self) -> None:
        """Note how many frames the run keeps, for those who compare runs."""
        tables = (schemas.FRAMES, schemas.CURATION)
        keys = {stage.name: stage.key for stage in self._context.stages if stage.table in tables}
        if schemas.CURATION.written_by in keys and not self._context.recompute:
            self._record.counts["kept"] = n_kept(self._context.store, keys, self._record.streams)

    def _refresh_again(self) -> None:
        """Bring rows over shared groups up to date: a run that moved heads meanwhile has not seen ours, nor we its."""
        tables = TableStages(self._context)
        for stage in self._context.stages:
            if stage.spec.work and stage.spec.work.groups:
                tables.update(stage)
        refresh(self._context)

    def _finish(self) -> None:
        self._reporter.began("finish", None)
        store, stages, job_id = self._context.store, self._context.stages, self._record.job_id
        if not self._replay or self._replay.promote:
            moved = heads.move(store, self._record.streams, stages, job_id)
            if self._heads is not None and store.open(schemas.HEADS).version > self._heads + moved:
                self._refresh_again()
        # A table that the run has not opened, it has not fragmented.
        for table in (t for t in schemas.ALL if store.seen(t)):
            release_memory()
            # The rest is written to by every run, and would be rewritten by each.
            at_once = table.has_stage_key or table is schemas.SCOPES
            maintenance.compact(store, table, job_id, more_than=1 if at_once else _OPS_FILES)
        record_unrecorded(store)
        self._count_kept()
        self._record.finish(store, snapshot_spec.versions_seen(store))
