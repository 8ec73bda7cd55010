"""Runs the table stages: whole scopes, from the rows of their upstream stages, replaced in one transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from blake3 import blake3

import schemas
from conf import PipelineConfig
from jobs.errors import RunFailedError
from jobs.parts import Part, write_part
from jobs.stage import Stage
from jobs.store import Change, ConflictError, Drop, Snapshot, Store
from transforms import curation, duplicates, idle
from transforms.hashing import from_hex
from transforms.identity import row_terms

WORKSPACE = "*"
"""The scope that is the whole workspace."""

_TRIES = 20
_ROWS_PER_COMMIT = 1 << 20


@dataclass
class TableResult:
    """What a table stage did: rows written and rows found done, over all of its scopes."""

    computed: int = 0
    reused: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class ScopeState:
    """Where a scope of a table stage stands: the digest of its input now, and what its rows were computed from."""

    scope: str
    input_id: int
    done: bool


class TableStages:
    """The table stages of one run.

    `streams` are the run's; a workspace-wide scope also takes in the streams that earlier runs have finished.
    """

    def __init__(
        self, store: Store, stages: Sequence[Stage], config: PipelineConfig, streams: Sequence[str], job_id: str
    ) -> None:
        self._store = store
        self._config = config
        self._streams = sorted(streams)
        self._job_id = job_id
        self._stages = {s.name: s for s in stages}
        self._compute: Mapping[str, Callable[[Stage, Snapshot, Sequence[ScopeState]], _Outcome]] = {
            "idle": self._idle,
            "duplicates": self._duplicates,
            "curation": self._curation,
        }

    def states(self, stage: Stage) -> list[ScopeState]:
        """Return where each scope of a stage stands, from the tables as they are now."""
        wanted = self._input_ids(stage)
        ledger = self._ledger(stage)
        written = self._written(stage, self._store.open(stage.table))
        rebuild = stage.name == "duplicates" and self._config.duplicates.rebuild
        return [
            ScopeState(scope, input_id, not rebuild and _is_done(scope, input_id, ledger, written))
            for scope, input_id in wanted.items()
        ]

    def run(self, stage: Stage) -> TableResult:
        """Bring every scope of a stage up to date."""
        started = time.monotonic()
        result = TableResult()
        states = self.states(stage)
        stale = [s for s in states if not s.done]
        for batch in self._batches(stage, stale):
            self._replace(stage, batch, result)
        rows = self._written(stage, self._store.open(stage.table))
        total = sum(w.n_rows for w in rows.values()) if stage.scope != "workspace" else rows[WORKSPACE].n_rows
        result.reused = max(0, total - result.computed)
        result.seconds = time.monotonic() - started
        return result

    def _batches(self, stage: Stage, stale: Sequence[ScopeState]) -> Iterable[Sequence[ScopeState]]:
        """Split scopes so that a batch fits in memory, and every batch is one transaction."""
        listed = self._store.read(schemas.STREAMS, ("stream_id", "n_frames"))
        frames = dict(zip(listed["stream_id"].to_pylist(), listed["n_frames"].to_pylist(), strict=True))
        batch: list[ScopeState] = []
        size = 0
        for state in stale:
            size += frames.get(state.scope, 0)
            if batch and size > _ROWS_PER_COMMIT:
                yield batch
                batch, size = [], frames.get(state.scope, 0)
            batch.append(state)
        if batch:
            yield batch

    def _replace(self, stage: Stage, batch: Sequence[ScopeState], result: TableResult) -> None:
        """Compute scopes and commit them; again, from what is there by then, if another run committed first."""
        for _ in range(_TRIES):
            snapshot = self._store.open(stage.table)
            outcome = self._compute[stage.name](stage, snapshot, batch)
            parts = self._write(stage, outcome.added)
            try:
                snapshot.commit(Change(parts, outcome.drops), self._job_id)
            except ConflictError:
                scopes = {s.scope for s in batch}
                batch = [s for s in self.states(stage) if s.scope in scopes and not s.done]
                if not batch:
                    return
                continue
            self._note(stage, batch, outcome)
            result.computed += outcome.added.num_rows
            return
        raise RunFailedError(f"stage {stage.name}: other runs kept changing its table; run again when they are done")

    def _write(self, stage: Stage, rows: pa.Table) -> list[Part]:
        rows = rows.select(stage.table.file_schema.names).cast(stage.table.file_schema)
        return [
            write_part(self._store.root, stage.table, rows.slice(first, _ROWS_PER_COMMIT), {"stage_key": stage.key})
            for first in range(0, rows.num_rows, _ROWS_PER_COMMIT)
        ]

    def _note(self, stage: Stage, batch: Sequence[ScopeState], outcome: _Outcome) -> None:
        rows = [
            {
                "stage": stage.name,
                "stage_key": stage.key,
                "scope": state.scope,
                "input_id": state.input_id,
                "n_rows": outcome.n_rows.get(state.scope, 0),
                "job_id": self._job_id,
            }
            for state in batch
        ]
        table = pa.Table.from_pylist(rows, schemas.SCOPES.arrow_schema)
        self._store.upsert(schemas.SCOPES, table, self._job_id)

    def _ledger(self, stage: Stage) -> dict[str, tuple[int, int]]:
        rows = self._store.read(schemas.SCOPES)
        mine = rows.filter(pc.equal(rows["stage_key"], stage.key)).to_pylist()
        return {r["scope"]: (r["input_id"], r["n_rows"]) for r in mine if r["stage"] == stage.name}

    def _written(self, stage: Stage, snapshot: Snapshot) -> dict[str, _Written]:
        """Return what each scope's rows say they were computed from."""
        if stage.scope == "workspace":
            n_rows = sum(f.n_rows for f in snapshot.files if f.stage_key == stage.key)
            return {WORKSPACE: _Written(n_rows, None)}
        rows = pl.DataFrame(snapshot.read(("stream_id", "input_id"), stage.key, frozenset(self._streams)))
        found = rows.group_by("stream_id").agg(
            pl.len(), pl.col("input_id").min().alias("low"), pl.col("input_id").max().alias("high")
        )
        # Rows of duplicates carry their frames' own ids; the other stages' carry their scope's.
        own = stage.name == "duplicates"
        return {
            name: _Written(n, None if own else low if low == high else _MIXED)
            for name, n, low, high in found.iter_rows()
        }

    def _input_ids(self, stage: Stage) -> dict[str, int]:
        """Return the digest of what each scope of a stage is computed from."""
        if stage.name == "duplicates":
            digests = self._digests(stage.upstream[0], self._scope_streams(stage))
            if stage.scope == "workspace":
                return {WORKSPACE: _combined([(n, d) for n, d in sorted(digests.items())])}
            return {name: _combined([(name, digests[name])]) for name in self._streams}
        per_stage = {s.name: self._upstream_digests(s) for s in stage.upstream}
        around = self._neighbours() if stage.name == "curation" else {}
        return {
            name: _combined(
                [
                    (upstream, near, digests.get(near, _NOTHING))
                    for near in sorted({name, *around.get(name, ())})
                    for upstream, digests in sorted(per_stage.items())
                ]
            )
            for name in self._streams
        }

    def _upstream_digests(self, stage: Stage) -> dict[str, tuple[int, int]]:
        if stage.name == "idle":
            return {scope: values for scope, values in self._ledger(stage).items()}
        return self._digests(stage, None)

    def _digests(self, stage: Stage, streams: frozenset[str] | None) -> dict[str, tuple[int, int]]:
        """Return number and digest of each stream's rows of a per-frame stage; streams without rows have none."""
        found: dict[str, tuple[int, int]] = dict.fromkeys(streams or (), _NOTHING)
        snapshot = self._store.open(stage.table)
        for batch in snapshot.batches(("stream_id", "frame_idx", "input_id"), stage.key, streams):
            codes = batch["stream_id"].dictionary_encode()
            names = codes.dictionary.to_pylist()
            terms = row_terms(batch["frame_idx"].to_numpy(), batch["input_id"].to_numpy())
            place = codes.indices.to_numpy()
            sums = np.zeros(len(names), np.uint64)
            np.add.at(sums, place, terms)
            for name, n, total in zip(names, np.bincount(place, minlength=len(names)), sums, strict=True):
                count, digest = found.get(name, _NOTHING)
                found[name] = (count + int(n), (digest + int(total)) % 2**64)
        return found

    def _scope_streams(self, stage: Stage) -> frozenset[str]:
        """Return the streams that a scope takes in: the run's own, and for a workspace those that runs have finished."""
        if stage.scope == "stream":
            return frozenset(self._streams)
        heads = self._store.read(schemas.HEADS, ("stream_id",))
        return frozenset(self._streams) | frozenset(heads["stream_id"].to_pylist())

    def _neighbours(self) -> dict[str, set[str]]:
        """Return for each stream the others that share a group of duplicates with it."""
        stage = self._stages.get("duplicates")
        if stage is None or stage.scope != "workspace":
            return {}
        columns = ("stream_id", "group_id", "representative_stream")
        snapshot = self._store.open(schemas.DUPLICATES)
        crossing = [
            pl.DataFrame(pa.Table.from_batches([batch])).filter(pl.col("stream_id") != pl.col("representative_stream"))
            for batch in snapshot.batches(columns, stage.key, None)
        ]
        if not crossing:
            return {}
        pairs = pl.concat(crossing).unique()
        members = pl.concat(
            [
                pairs.select("group_id", "stream_id"),
                pairs.select("group_id", pl.col("representative_stream").alias("stream_id")),
            ]
        ).unique()
        around: dict[str, set[str]] = {}
        for names in members.group_by("group_id").agg("stream_id")["stream_id"].to_list():
            for name in names:
                around.setdefault(name, set()).update(names)
        return around

    def _idle(self, stage: Stage, snapshot: Snapshot, batch: Sequence[ScopeState]) -> _Outcome:
        motion, fingerprints = stage.upstream
        tables = []
        for state in batch:
            streams = frozenset([state.scope])
            moved = pl.DataFrame(self._read(motion, ("frame_idx", "motion_peak", "tile_contrast"), streams))
            hashed = pl.DataFrame(self._read(fingerprints, ("frame_idx", "phash"), streams))
            rows = hashed.join(moved, on="frame_idx", how="left").sort("frame_idx")
            decodable = rows["phash"].is_not_null().to_numpy()
            hashes = from_hex(rows["phash"].fill_null("0" * 16).to_arrow())
            peak, contrast = (rows[n].to_numpy().astype(np.float32) for n in ("motion_peak", "tile_contrast"))
            found = idle.find_idle(peak, contrast, hashes, decodable, self._config.idle)
            index = rows["frame_idx"].to_numpy()
            tables.append(
                pa.table(
                    {
                        "input_id": np.full(len(found.first), state.input_id),
                        "stream_id": pa.repeat(pa.scalar(state.scope), len(found.first)),
                        "start_idx": index[found.first],
                        "end_idx": index[found.last],
                        "n_frames": found.last - found.first + 1,
                        "idle_score": found.score,
                    }
                )
            )
        counts = {state.scope: t.num_rows for state, t in zip(batch, tables, strict=True)}
        return _Outcome(pa.concat_tables(tables), self._drop_streams(stage, batch), counts)

    def _duplicates(self, stage: Stage, snapshot: Snapshot, batch: Sequence[ScopeState]) -> _Outcome:
        workspace = stage.scope == "workspace"
        streams = self._scope_streams(stage) if workspace else frozenset(s.scope for s in batch)
        hashed = self._read(stage.upstream[0], ("stream_id", "frame_idx", "input_id", "phash"), streams)
        hashed = hashed.filter(pc.is_valid(hashed["phash"])).rename_columns(duplicates.INPUT.names)
        old = snapshot.read(None, stage.key, None if workspace else streams)
        everything = [Drop(stage.key, None if workspace else streams)]
        if self._config.duplicates.rebuild:
            grouping = duplicates.group_frames(hashed, old.slice(0, 0), self._config.duplicates)
            drops = everything
        else:
            grouping = duplicates.group_frames(hashed, old, self._config.duplicates)
            drops = [Drop(stage.key, keys=grouping.removed)] if grouping.removed.num_rows else []
        if workspace:
            return _Outcome(grouping.added, drops, {WORKSPACE: hashed.num_rows})
        counts = {c["values"]: c["counts"] for c in pc.value_counts(hashed["stream_id"]).to_pylist()}
        return _Outcome(grouping.added, drops, counts)

    def _curation(self, stage: Stage, snapshot: Snapshot, batch: Sequence[ScopeState]) -> _Outcome:
        around = self._neighbours()
        mine = {s.scope: s.input_id for s in batch}
        streams = frozenset(mine).union(*(around.get(name, ()) for name in mine))
        upstream = {s.name: s for s in stage.upstream}
        columns = ("stream_id", "frame_idx", "status", "width", "height", "input_id")
        rows = pl.DataFrame(self._read(upstream["frames"], columns, streams)).rename({"input_id": "content_id"})
        measures = ("stream_id", "frame_idx", "sharpness", "luma_mean", "luma_p50", "luma_p95", "entropy")
        key = list(schemas.FRAME_KEY)
        rows = rows.join(pl.DataFrame(self._read(upstream["quality"], measures, streams)), on=key, how="left")
        intervals = schemas.IDLE.empty().select(["stream_id", "start_idx", "end_idx"])
        if "idle" in upstream:
            intervals = self._read(upstream["idle"], intervals.column_names, streams)
        rows = curation.place_in_intervals(rows, pl.DataFrame(intervals))
        if "duplicates" in upstream:
            groups = pl.DataFrame(self._read(upstream["duplicates"], (*key, "group_id"), streams))
            rows = rows.join(groups, on=key, how="left")
        else:
            rows = rows.with_columns(group_id=pl.lit(None, pl.String))
        decided = curation.curate(
            rows.select(curation.INPUT.names).to_arrow().cast(curation.INPUT),
            self._config.curation,
            self._config.blur.method,
            self._config.idle.keep,
        )
        decided = decided.filter(pc.is_in(decided["stream_id"], pa.array(list(mine))))
        names = decided["stream_id"].combine_chunks().dictionary_encode()
        ids = pa.array([mine[name] for name in names.dictionary.to_pylist()], pa.int64()).take(names.indices)
        counts = {c["values"]: c["counts"] for c in pc.value_counts(decided["stream_id"]).to_pylist()}
        return _Outcome(decided.append_column("input_id", ids), self._drop_streams(stage, batch), counts)

    def _read(self, stage: Stage, columns: Sequence[str], streams: frozenset[str]) -> pa.Table:
        return self._store.open(stage.table).read(columns, stage.key, streams)

    def _drop_streams(self, stage: Stage, batch: Sequence[ScopeState]) -> list[Drop]:
        return [Drop(stage.key, frozenset(s.scope for s in batch))]


@dataclass(frozen=True)
class _Outcome:
    """Rows to add, without stage key; what they replace; and how many rows each scope then has."""

    added: pa.Table
    drops: list[Drop]
    n_rows: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Written:
    n_rows: int
    input_id: int | None


_NOTHING = (0, 0)
_MIXED = -1


def _is_done(scope: str, input_id: int, ledger: Mapping[str, tuple[int, int]], written: Mapping[str, _Written]) -> bool:
    """Say whether a scope is done: the ledger says so, and the rows are those that it speaks of."""
    noted = ledger.get(scope)
    if noted is None or noted[0] != input_id:
        return False
    rows = written.get(scope, _Written(0, None))
    return rows.n_rows == noted[1] and rows.input_id in {None, input_id}


def _combined(parts: Sequence[tuple[object, ...]]) -> int:
    """Return one signed 64-bit id for a sequence of names and digests."""
    digest = blake3(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "little", signed=True)
