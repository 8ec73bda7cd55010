"""Runner of the table stages: whole scopes, from the rows of their upstream stages, replaced in one transaction."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

import schemas
from conf.stage_spec import Counted, TableWork
from jobs.core.errors import RunFailedError
from jobs.core.memory import release_memory
from jobs.core.stage import Stage
from jobs.engine.interruptible import run_interruptibly
from jobs.passes.distributed_pairs import sharing
from jobs.passes.run_context import RunContext, ScopeState, Survey
from jobs.passes.scopes import Scopes
from jobs.passes.table_rows import RowsInStore, read_reviews, rows_of_stage
from jobs.storage.data_files import Part, write_part
from jobs.storage.store import Change, ConflictError, Drop, Snapshot
from jobs.storage.stream_batches import packed, stream_sizes
from transforms.core.table_stage import WORKSPACE, TableInput, TableOutput

_TRIES = 20
_ROWS_PER_COMMIT = 1 << 20


@dataclass
class TableResult:
    """What a table stage did, in frames of the run's streams: how many it has rows for or computed, and its scopes."""

    frames: int = 0
    computed: int = 0
    seconds: float = 0.0
    scopes: set[str] = field(default_factory=set)

    def verified(self, unread: Mapping[str, int]) -> int:
        """Return how many reused frames are of streams that had to be read, given the frames of each such stream."""
        if WORKSPACE in self.scopes:
            return 0
        reused = max(0, self.frames - self.computed)
        return min(reused, sum(n for name, n in unread.items() if name not in self.scopes))


class TableStages:
    """The table stages of one run; a `Runner`. It is stopped between transactions, never within one."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._store = context.store
        self._streams = frozenset(context.streams)
        self._scopes = Scopes(context.store, context.stages, context.streams)

    def survey(self, stage: Stage) -> Survey:
        """Return where each scope of a stage stands; none that is to be recomputed is done."""
        states = self._scopes.states(stage)
        if self._recomputes(stage):
            states = [ScopeState(s.scope, s.input_id, done=False) for s in states]
        return Survey(scopes=states)

    def run(self, stage: Stage) -> bool:
        """Bring every scope of a stage up to date, and account for its frames."""
        live = self._context.now
        live.reporter.began(stage.name, None)
        result = self.update(stage)
        release_memory()
        outcome, earlier = live.outcome(stage)
        outcome.account(
            earlier,
            frames_in=live.record.frames,
            done=result.frames,
            computed=result.computed,
            verified=result.verified(live.unread),
            seconds=result.seconds,
        )
        return result.computed > 0

    def update(self, stage: Stage) -> TableResult:
        """Bring every scope of a stage up to date.

        Raises `RunFailedError` where a stage with one row per frame then has fewer or more rows than went in.
        """
        started = time.monotonic()
        check = self._context.check
        result = TableResult()
        with self._store.cached_reads():
            stale = [s for s in run_interruptibly(partial(self.survey, stage), check).scopes if not s.done]
            balanced = None if stale else self._counted(stage)
        for batch in self._batches(stale):
            check()
            self._replace(stage, batch, result)
        result.frames = balanced[0] if balanced and balanced[0] == balanced[1] else self._balanced(stage)
        result.seconds = time.monotonic() - started
        return result

    def _recomputes(self, stage: Stage) -> bool:
        return self._context.recomputes(stage) or _work(stage).rebuilds(self._context.config)

    def counted_by(self, stage: Stage) -> tuple[Stage, str | None]:
        """Return the stage whose rows another one has as many of, and the column in which these have a value."""
        above = {s.name: s for s in stage.upstream}
        counted = [c for c in _work(stage).counted if c.stage in above] or [Counted(stage.upstream[0].name)]
        return above[counted[-1].stage], counted[-1].column

    def _counted(self, stage: Stage) -> tuple[int, int]:
        """Return how many of the streams' frames the stage has to account for, and for how many it has."""
        above, decodable = self.counted_by(stage)
        frames = self._store.open(above.table).count(above.key, self._streams, decodable)
        if not stage.table.per_frame:
            return frames, frames
        return frames, self._store.open(stage.table).count(stage.key, self._streams)

    def _balanced(self, stage: Stage) -> int:
        """Return how many of the streams' frames the stage has to account for, having checked that it has."""
        above, _ = self.counted_by(stage)
        while True:
            source, target = self._store.open(above.table), self._store.open(stage.table)
            with self._store.cached_reads():
                frames, rows = self._counted(stage)
            if frames == rows:
                return frames
            states = self._scopes.states(stage)
            own = [s for s in states if s.scope in {WORKSPACE, *self._streams}]
            if not all(s.done for s in own):
                # Another run has added frames since, and brings this stage up to date when it gets there.
                return frames
            tables = (above.table, source), (stage.table, target)
            if all(self._store.open(table).version == snapshot.version for table, snapshot in tables):
                self._scopes.forget(stage, own, self._context.job_id)
                raise RunFailedError(f"stage {stage.name}: {frames} frames in, {rows} rows out; {_fix(stage)}")

    def _batches(self, stale: Sequence[ScopeState]) -> Iterator[Sequence[ScopeState]]:
        """Split scopes so that a batch fits in memory; every batch is one transaction."""
        frames = stream_sizes(self._store)
        yield from packed(stale, lambda state: frames.get(state.scope, 0), _ROWS_PER_COMMIT)

    def _replace(self, stage: Stage, batch: Sequence[ScopeState], result: TableResult) -> None:
        """Compute scopes and commit them; if another run committed first, recompute from what is there by then."""
        scopes = {state.scope for state in batch}
        for _ in range(_TRIES):
            snapshot = self._store.open(stage.table)
            release_memory()
            # Grouping millions of frames takes minutes, and changes nothing until it is committed.
            output = run_interruptibly(partial(self._compute, stage, snapshot, batch), self._context.check)
            release_memory()
            try:
                change = Change(self._write(stage, output.added), _drops(stage, output, batch))
                snapshot.commit(change, self._context.job_id)
            except ConflictError:
                batch = [s for s in self._scopes.states(stage) if s.scope in scopes and not s.done]
                if not batch:
                    return
                continue
            n_rows = _per_stream(output.added) if output.n_rows is None else output.n_rows
            self._scopes.note(stage, batch, n_rows, self._context.job_id)
            result.computed += output.n_frames
            result.scopes |= {state.scope for state in batch}
            return
        raise RunFailedError(f"stage {stage.name}: other runs kept changing its table; run again when they are done")

    def _compute(self, stage: Stage, snapshot: Snapshot, batch: Sequence[ScopeState]) -> TableOutput:
        scopes = {state.scope: state.input_id for state in batch}
        config, work = self._context.config, _work(stage)
        near = None
        if work.on_cluster and self._context.live:
            near = sharing(config.duplicates, self._context.live.engine, self._context.check)
        given = TableInput(
            scopes=scopes,
            streams=sorted(self._scopes.input_streams(stage, scopes)),
            own=self._streams,
            params=stage.spec.sections(config),
            above={s.name: rows_of_stage(self._store, s) for s in stage.upstream},
            before=RowsInStore(self._store, stage, snapshot),
            listed=self._listed,
            check=self._context.check,
            recompute=self._recomputes(stage),
            near_pairs=near,
        )
        return work.compute(given)

    def _listed(self, table: str, columns: Sequence[str]) -> pa.Table:
        if table == schemas.REVIEWS.name:
            return read_reviews(self._store, columns)
        # What the run itself has catalogued is what counts; what people decide may be newer.
        return self._store.read(schemas.BY_NAME[table], columns, as_seen=table == schemas.STREAMS.name)

    def _write(self, stage: Stage, rows: pa.Table) -> list[Part]:
        rows = rows.select(stage.table.file_schema.names).cast(stage.table.file_schema)
        return [
            write_part(self._store.root, stage.table, rows.slice(first, _ROWS_PER_COMMIT), {"stage_key": stage.key})
            for first in range(0, rows.num_rows, _ROWS_PER_COMMIT)
        ]


def _work(stage: Stage) -> TableWork:
    assert stage.spec.work is not None
    return stage.spec.work


def _fix(stage: Stage) -> str:
    """Return what a user is to do where a stage does not account for its frames although its scopes are done."""
    setting = _work(stage).rebuild_setting
    if setting and stage.scope == "workspace":
        return f"run again with --set {setting}=true"
    return "run again to recompute the stage"


def _drops(stage: Stage, output: TableOutput, batch: Sequence[ScopeState]) -> list[Drop]:
    """Return what the rows that were computed replace."""
    if output.removed is None:
        return [Drop(stage.key, None if stage.scope == "workspace" else frozenset(s.scope for s in batch))]
    return [Drop(stage.key, keys=output.removed)] if output.removed.num_rows else []


def _per_stream(rows: pa.Table) -> dict[str, int]:
    return {c["values"]: c["counts"] for c in pc.value_counts(rows["stream_id"]).to_pylist()}
