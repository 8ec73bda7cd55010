"""Runs the table stages: whole scopes, from the rows of their upstream stages, replaced in one transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

import schemas
from conf import PipelineConfig
from jobs.core.errors import RunFailedError
from jobs.core.memory import give_back
from jobs.core.stage import Stage
from jobs.engine.interruptible import beside
from jobs.engine.ray_engine import Engine
from jobs.passes.curation_input import gather
from jobs.passes.distributed_pairs import sharing
from jobs.passes.routing import route_frames
from jobs.passes.scopes import WORKSPACE, Scopes, ScopeState
from jobs.passes.tracking import tracks_of
from jobs.storage.batching import packed, stream_sizes
from jobs.storage.data_files import Part, write_part
from jobs.storage.store import Change, ConflictError, Drop, Snapshot, Store
from transforms.curate import curation, idle, scenes
from transforms.curate.duplicates import grouping as duplicates
from transforms.metrics.hashing import LAYOUT_SIDE, layout_array

_TRIES = 20
_MENDS = {
    "stream": "run again to compute the stage anew",
    "run": "run again to compute the stage anew",
    "workspace": "run again with --set duplicates.rebuild=true",
}
_ROWS_PER_COMMIT = 1 << 20


@dataclass
class TableResult:
    """What a table stage did, in frames of the run's streams: looked at, or found done; and the scopes it computed."""

    computed: int = 0
    reused: int = 0
    seconds: float = 0.0
    scopes: set[str] = field(default_factory=set)

    def verified(self, doubtful: Mapping[str, int]) -> int:
        """Return how many of the frames of streams that were in doubt stand, given the frames of each such stream."""
        if WORKSPACE in self.scopes:
            return 0
        return min(self.reused, sum(n for name, n in doubtful.items() if name not in self.scopes))


@dataclass(frozen=True)
class _Outcome:
    """Rows to add, without stage key; what they replace; how many rows each scope then has; and frames looked at."""

    added: pa.Table
    drops: list[Drop]
    n_rows: Mapping[str, int]
    n_computed: int


class TableStages:
    """The table stages of one run; `check` is called several times a second, but in no transaction, and may end it.

    `engine` is called where machines are to share the work. No scope is taken to be done by the stage `again`.
    """

    def __init__(
        self,
        store: Store,
        stages: Sequence[Stage],
        config: PipelineConfig,
        streams: Sequence[str],
        job_id: str,
        check: Callable[[], None] = lambda: None,
        again: str | None = None,
        engine: Callable[[], Engine] | None = None,
    ) -> None:
        self._check = check
        self._engine = engine
        self._again = again
        self._store = store
        self._config = config
        self._streams = frozenset(streams)
        self._job_id = job_id
        self._scopes = Scopes(store, stages, streams)
        self._compute: Mapping[str, Callable[[Stage, Snapshot, Sequence[ScopeState]], _Outcome]] = {
            "scenes": self._scenes,
            "idle": self._idle,
            "duplicates": self._duplicates,
            "curation": self._curation,
            "route": self._route,
            "track": self._track,
        }

    def states(self, stage: Stage) -> list[ScopeState]:
        """Return where each scope of a stage stands; with `duplicates.rebuild` no group stands."""
        states = self._scopes.states(stage)
        if stage.name == self._again or (stage.name == "duplicates" and self._config.duplicates.rebuild):
            return [ScopeState(s.scope, s.input_id, done=False) for s in states]
        return states

    def run(self, stage: Stage) -> TableResult:
        """Bring every scope of a stage up to date.

        Raises `RunFailedError` where a stage with one row per frame then has fewer or more rows than went in.
        """
        started = time.monotonic()
        result = TableResult()
        with self._store.moment():
            stale = [s for s in beside(partial(self.states, stage), self._check) if not s.done]
            balanced = None if stale else self._counted(stage)
        for batch in self._batches(stale):
            self._check()
            self._replace(stage, batch, result)
        frames = balanced[0] if balanced and balanced[0] == balanced[1] else self._balanced(stage)
        result.reused = max(0, frames - result.computed)
        result.seconds = time.monotonic() - started
        return result

    def _above(self, stage: Stage) -> tuple[Stage, str | None]:
        """Return the stage that says how many rows another one has, and what these have a value in."""
        if stage.name != "duplicates":
            return stage.upstream[0], None
        return (stage.upstream[1], None) if self._config.duplicates.uses == "vector" else (stage.upstream[0], "phash")

    def _counted(self, stage: Stage) -> tuple[int, int]:
        """Return how many of the streams' frames the stage has to account for, and for how many it has."""
        above, decodable = self._above(stage)
        frames = self._store.open(above.table).count(above.key, self._streams, decodable)
        if not stage.table.per_frame:
            return frames, frames
        return frames, self._store.open(stage.table).count(stage.key, self._streams)

    def _balanced(self, stage: Stage) -> int:
        """Return how many of the streams' frames the stage has to account for, after a look at whether it has."""
        above, _ = self._above(stage)
        while True:
            source, target = self._store.open(above.table), self._store.open(stage.table)
            with self._store.moment():
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
                self._scopes.forget(stage, own, self._job_id)
                raise RunFailedError(f"stage {stage.name}: {frames} frames in, {rows} rows out; {_MENDS[stage.scope]}")

    def _batches(self, stale: Sequence[ScopeState]) -> Iterator[Sequence[ScopeState]]:
        """Split scopes so that a batch fits in memory; every batch is one transaction."""
        frames = stream_sizes(self._store)
        yield from packed(stale, lambda state: frames.get(state.scope, 0), _ROWS_PER_COMMIT)

    def _replace(self, stage: Stage, batch: Sequence[ScopeState], result: TableResult) -> None:
        """Compute scopes and commit them; again, from what is there by then, if another run committed first."""
        scopes = {state.scope for state in batch}
        for _ in range(_TRIES):
            snapshot = self._store.open(stage.table)
            give_back()
            compute = partial(self._compute[stage.name], stage, snapshot, batch)
            # Grouping millions of frames takes minutes, and changes nothing until it is committed.
            outcome = beside(compute, self._check)
            give_back()
            try:
                snapshot.commit(Change(self._write(stage, outcome.added), outcome.drops), self._job_id)
            except ConflictError:
                batch = [s for s in self._scopes.states(stage) if s.scope in scopes and not s.done]
                if not batch:
                    return
                continue
            self._scopes.note(stage, batch, outcome.n_rows, self._job_id)
            result.computed += outcome.n_computed
            result.scopes |= {state.scope for state in batch}
            return
        raise RunFailedError(f"stage {stage.name}: other runs kept changing its table; run again when they are done")

    def _write(self, stage: Stage, rows: pa.Table) -> list[Part]:
        rows = rows.select(stage.table.file_schema.names).cast(stage.table.file_schema)
        return [
            write_part(self._store.root, stage.table, rows.slice(first, _ROWS_PER_COMMIT), {"stage_key": stage.key})
            for first in range(0, rows.num_rows, _ROWS_PER_COMMIT)
        ]

    def _read(self, stage: Stage, columns: Sequence[str], streams: frozenset[str]) -> pa.Table:
        return self._store.open(stage.table).read(columns, stage.key, streams)

    def _scenes(self, stage: Stage, _: Snapshot, batch: Sequence[ScopeState]) -> _Outcome:
        tables = []
        n_frames = 0
        for state in batch:
            streams = frozenset([state.scope])
            seen = self._read(stage.upstream[0], ("frame_idx", "layout"), streams).sort_by("frame_idx")
            shown = pl.DataFrame(self._read(stage.upstream[1], ("frame_idx", "time_ns"), streams))
            numbers = pl.DataFrame(seen.select(["frame_idx"]))
            times = numbers.join(shown, on="frame_idx", how="left", maintain_order="left")["time_ns"]
            seconds = times.cast(pl.Float64).fill_null(np.nan).to_numpy() / 1e9
            decodable = pc.is_valid(seen["layout"]).to_numpy()
            blank = bytes(LAYOUT_SIDE**2)
            layouts = layout_array(seen["layout"].fill_null(blank))
            found = scenes.find_scenes(layouts, decodable, self._config.scenes, seconds)
            parted = _intervals(state, seen["frame_idx"].to_numpy(), found.first, found.last)
            parted = parted.append_column("scene_idx", pa.array(np.arange(len(found.first))))
            tables.append(parted.append_column("begins", pa.array(found.begins, pa.string())))
            n_frames += seen.num_rows
        counts = {state.scope: t.num_rows for state, t in zip(batch, tables, strict=True)}
        return _Outcome(pa.concat_tables(tables), _whole_streams(stage, batch), counts, n_frames)

    def _idle(self, stage: Stage, _: Snapshot, batch: Sequence[ScopeState]) -> _Outcome:
        moves, fingerprints, parted = stage.upstream
        kinds = self._store.read(schemas.STREAMS, ("stream_id", "kind"), as_seen=True)
        clips = set(kinds.filter(pc.equal(kinds["kind"], "video"))["stream_id"].to_pylist())
        tables = []
        n_frames = 0
        for state in batch:
            streams = frozenset([state.scope])
            hashed = pl.DataFrame(self._read(fingerprints, idle.FINGERPRINTS, streams))
            moved = pl.DataFrame(self._read(moves, idle.MOTION, streams))
            starts = self._read(parted, ("start_idx",), streams)["start_idx"].to_numpy()
            index, course = idle.course_of(hashed, moved, starts, state.scope in clips)
            found = idle.find_idle(course, self._config.idle)
            intervals = _intervals(state, index, found.first, found.last)
            intervals = intervals.append_column("idle_score", pa.array(found.score))
            tables.append(intervals.append_column("frozen", pa.array(found.frozen)))
            n_frames += len(index)
        counts = {state.scope: t.num_rows for state, t in zip(batch, tables, strict=True)}
        return _Outcome(pa.concat_tables(tables), _whole_streams(stage, batch), counts, n_frames)

    def _track(self, stage: Stage, _: Snapshot, batch: Sequence[ScopeState]) -> _Outcome:
        tables = []
        n_frames = 0
        for state in batch:
            found, n_seen = tracks_of(self._store, stage, state.scope, self._config.track, self._check)
            tables.append(found.append_column("input_id", pa.array(np.full(found.num_rows, state.input_id))))
            n_frames += n_seen
        counts = {state.scope: t.num_rows for state, t in zip(batch, tables, strict=True)}
        names = stage.table.file_schema.names
        return _Outcome(
            pa.concat_tables(t.select(names) for t in tables), _whole_streams(stage, batch), counts, n_frames
        )

    def _duplicates(self, stage: Stage, snapshot: Snapshot, batch: Sequence[ScopeState]) -> _Outcome:
        workspace = stage.scope == "workspace"
        streams = self._scopes.streams_of(stage) if workspace else frozenset(s.scope for s in batch)
        hashed = self._hashed(stage, streams)
        old = snapshot.read(None, stage.key, None if workspace else streams)
        near = sharing(self._config.duplicates, self._engine, self._check) if self._engine else None
        if self._config.duplicates.rebuild or stage.name == self._again:
            grouping = duplicates.group_frames(hashed, old.slice(0, 0), self._config.duplicates, near)
            drops = [Drop(stage.key, None if workspace else streams)]
        else:
            grouping = duplicates.group_frames(hashed, old, self._config.duplicates, near)
            drops = [Drop(stage.key, keys=grouping.removed)] if grouping.removed.num_rows else []
        own = pc.is_in(grouping.added["stream_id"], pa.array(sorted(self._streams)))
        counts = {WORKSPACE: hashed.num_rows} if workspace else _per_stream(hashed)
        return _Outcome(grouping.added, drops, counts, pc.sum(own).as_py() or 0)

    def _hashed(self, stage: Stage, streams: frozenset[str]) -> pa.Table:
        """Return what frames are compared by; where that is vectors, those that have one."""
        uses = self._config.duplicates.uses
        seen = ("layout",) if uses == "layout" else ()
        hashed = self._read(stage.upstream[0], ("stream_id", "frame_idx", "input_id", "phash", *seen), streams)
        hashed = hashed.filter(pc.is_valid(hashed["phash"])).rename_columns([*duplicates.INPUT.names, *seen])
        if uses != "vector":
            return hashed
        vectors = self._read(stage.upstream[1], (*schemas.FRAME_KEY, "vector"), streams)
        key = schemas.FRAME_KEY
        mine, theirs = (pl.DataFrame(t.select(key)).with_row_index("at") for t in (hashed, vectors))
        both = mine.join(theirs, on=key).sort(key)
        of_both = vectors["vector"].take(both["at_right"].to_arrow())
        return hashed.take(both["at"].to_arrow()).append_column("vector", of_both)

    def _curation(self, stage: Stage, _: Snapshot, batch: Sequence[ScopeState]) -> _Outcome:
        around = self._scopes.neighbours()
        mine = {s.scope: s.input_id for s in batch}
        streams = frozenset(mine).union(*(around.get(name, ()) for name in mine))
        rows = gather(self._store, stage.upstream, streams)
        decided = curation.curate(rows, self._config.curation, self._config.blur.method, self._config.idle.keep)
        decided = decided.filter(pc.is_in(decided["stream_id"], pa.array(list(mine))))
        names = decided["stream_id"].combine_chunks().dictionary_encode()
        ids = pa.array([mine[name] for name in names.dictionary.to_pylist()], pa.int64()).take(names.indices)
        added = decided.append_column("input_id", ids)
        own = pc.sum(pc.is_in(decided["stream_id"], pa.array(sorted(self._streams)))).as_py() or 0
        return _Outcome(added, _whole_streams(stage, batch), _per_stream(decided), own)

    def _route(self, stage: Stage, _: Snapshot, batch: Sequence[ScopeState]) -> _Outcome:
        mine = {s.scope: s.input_id for s in batch}
        rows = pl.DataFrame(route_frames(self._store, stage, sorted(self._streams), self._config))
        added = rows.filter(pl.col("stream_id").is_in(list(mine)))
        added = added.with_columns(input_id=pl.col("stream_id").replace_strict(mine, return_dtype=pl.Int64))
        return _Outcome(added.to_arrow(), _whole_streams(stage, batch), _per_stream(added.to_arrow()), added.height)


def _intervals(
    state: ScopeState, index: npt.NDArray[np.int64], first: npt.NDArray[np.int64], last: npt.NDArray[np.int64]
) -> pa.Table:
    """Return intervals, given as positions into a stream's frames, with the frames' numbers."""
    return pa.table(
        {
            "input_id": np.full(len(first), state.input_id),
            "stream_id": pa.repeat(pa.scalar(state.scope), len(first)),
            "start_idx": index[first],
            "end_idx": index[last],
            "n_frames": last - first + 1,
        }
    )


def _whole_streams(stage: Stage, batch: Sequence[ScopeState]) -> list[Drop]:
    return [Drop(stage.key, frozenset(s.scope for s in batch))]


def _per_stream(rows: pa.Table) -> dict[str, int]:
    return {c["values"]: c["counts"] for c in pc.value_counts(rows["stream_id"]).to_pylist()}
