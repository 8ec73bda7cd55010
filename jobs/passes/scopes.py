"""State of the scopes of table stages: the digest of their input now, and of what their rows were computed from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from blake3 import blake3

import schemas
from jobs.core.stage import Stage
from jobs.passes.run_context import ScopeState
from jobs.passes.table_rows import overridden, read_reviews
from jobs.storage.store import Drop, Snapshot, Store
from transforms.assess.uncertainty import REVIEW_COLUMNS, reviewed_pictures
from transforms.core.identity import row_terms
from transforms.core.table_stage import WORKSPACE

Digest = tuple[int, int]
"""Number of rows, and the wrapping sum of a hash of each."""

_NOTHING: Digest = (0, 0)
_MIXED = -1


@dataclass(frozen=True)
class _Written:
    """The rows that a scope has: how many, and the one input id that all of them name (`_MIXED` for several)."""

    n_rows: int
    input_id: int | None


class Scopes:
    """The scopes of a run's table stages, over its own streams.

    A scope is done when the ledger (`scopes` table) says that it was computed from its present input, and the rows are
    those that the ledger speaks of. Rows are committed before the ledger, so that what a crash leaves is redone.
    """

    def __init__(self, store: Store, stages: Sequence[Stage], streams: Iterable[str]) -> None:
        self._store = store
        self._stages = {s.name: s for s in stages}
        self._streams = sorted(streams)
        # Reads a row of every frame of the workspace, and is needed for each portion of the streams.
        self._around: tuple[tuple[str, int], dict[str, set[str]]] | None = None

    def states(self, stage: Stage) -> list[ScopeState]:
        """Return where each scope of a stage stands, from the tables as they are now."""
        ledger = self._ledger(stage)
        streams = list(self._streams)
        # Rows of other streams may rest on groups that this run has changed.
        streams += sorted(self._others(stage, ledger))
        written = self._written(stage, self._store.open(stage.table), frozenset(streams))
        found = []
        for scope, input_id in self._input_ids(stage, streams).items():
            noted = ledger.get(scope)
            rows = written.get(scope, _Written(0, None))
            same_rows = noted is not None and rows.n_rows == noted[1] and rows.input_id in {None, input_id}
            found.append(ScopeState(scope, input_id, same_rows and noted is not None and noted[0] == input_id))
        return found

    def _others(self, stage: Stage, ledger: Mapping[str, Digest]) -> set[str]:
        """Return the streams beyond the run's own that a stage over all the workspace's groups has rows for."""
        if self._groups_of(stage) is None:
            return set()
        heads = self._store.read(schemas.HEADS, ("stream_id", "stage_key")).to_pylist()
        shown = {row["stream_id"] for row in heads if row["stage_key"] == stage.key}
        return (shown & set(ledger)) - set(self._streams)

    def note(self, stage: Stage, states: Sequence[ScopeState], n_rows: Mapping[str, int], job_id: str) -> None:
        """Write into the ledger that these scopes are done, with so many rows each."""
        rows = [
            {
                "stage": stage.name,
                "stage_key": stage.key,
                "scope": state.scope,
                "input_id": state.input_id,
                "n_rows": n_rows.get(state.scope, 0),
                "job_id": job_id,
            }
            for state in states
        ]
        self._store.upsert(schemas.SCOPES, pa.Table.from_pylist(rows, schemas.SCOPES.arrow_schema), job_id)

    def forget(self, stage: Stage, states: Sequence[ScopeState], job_id: str) -> None:
        """Delete the run's own among these scopes from the ledger, so that its next run recomputes them."""
        rows = [
            {"stage": stage.name, "stage_key": stage.key, "scope": state.scope}
            for state in states
            # The rows of other streams are found through the ledger.
            if state.scope in {WORKSPACE, *self._streams}
        ]
        keys = pa.Table.from_pylist(rows, pa.schema([schemas.SCOPES.arrow_schema.field(n) for n in schemas.SCOPES.key]))
        self._store.upsert(schemas.SCOPES, schemas.SCOPES.empty(), job_id, Drop(keys=keys))

    def streams_of(self, stage: Stage) -> frozenset[str]:
        """Return the streams whose frames a stage takes in.

        These are the run's own; for a stage over the workspace also those that earlier runs have finished or that have
        rows already. A stream that another run is reading for the first time is left to that run.
        """
        own = frozenset(self._streams)
        if stage.scope != "workspace":
            return own
        heads = self._store.read(schemas.HEADS, ("stream_id",))["stream_id"].to_pylist()
        batches = self._store.open(stage.table).batches(("stream_id",), stage.key, None)
        present = {name for batch in batches for name in pc.unique(batch["stream_id"]).to_pylist()}
        return own | frozenset(heads) | present

    def input_streams(self, stage: Stage, scopes: Iterable[str]) -> frozenset[str]:
        """Return the streams whose rows decide those of some scopes of a stage."""
        if stage.scope != "stream":
            return self.streams_of(stage)
        around = self._neighbours(stage)
        return frozenset(scopes).union(*(around.get(name, ()) for name in scopes))

    def _groups_of(self, stage: Stage) -> Stage | None:
        """Return the stage over the workspace whose groups connect the streams of another one, if there is one."""
        groups = self._stages.get(stage.spec.work.groups) if stage.spec.work else None
        return groups if groups and groups.scope == "workspace" else None

    def _neighbours(self, stage: Stage) -> dict[str, set[str]]:
        """Return for each stream those that share a group with it that counts for a stage, itself included."""
        groups = self._groups_of(stage)
        if groups is None:
            return {}
        snapshot = self._store.open(groups.table)
        read = groups.key, snapshot.version
        if self._around is None or self._around[0] != read:
            self._around = read, _sharing_groups(snapshot, groups.key)
        return self._around[1]

    def _ledger(self, stage: Stage) -> dict[str, Digest]:
        rows = self._store.read(schemas.SCOPES)
        mine = rows.filter(pc.equal(rows["stage_key"], stage.key)).to_pylist()
        return {r["scope"]: (r["input_id"], r["n_rows"]) for r in mine if r["stage"] == stage.name}

    def _written(self, stage: Stage, snapshot: Snapshot, streams: frozenset[str]) -> dict[str, _Written]:
        if stage.scope == "workspace":
            return {WORKSPACE: _Written(sum(f.n_rows for f in snapshot.files if f.stage_key == stage.key), None)}
        rows = pl.DataFrame(snapshot.read(("stream_id", "input_id"), stage.key, streams))
        span = (pl.len(), pl.col("input_id").min().alias("low"), pl.col("input_id").max().alias("high"))
        found = rows.group_by("stream_id").agg(*span)
        if _is_incremental(stage):
            # These rows carry the ids of their own frames, not that of the scope.
            return {name: _Written(n, None) for name, n, _, _ in found.iter_rows()}
        return {name: _Written(n, low if low == high else _MIXED) for name, n, low, high in found.iter_rows()}

    def _input_ids(self, stage: Stage, streams: Sequence[str]) -> dict[str, int]:
        """Return the digest of what each scope of a stage is computed from."""
        if _is_incremental(stage):
            everyone = self.streams_of(stage)
            read = [self._digests(s, everyone) for s in stage.upstream]
            if stage.scope == "workspace":
                return {WORKSPACE: _combined([item for digests in read for item in sorted(digests.items())])}
            return {name: _combined([(name, digests[name]) for digests in read]) for name in streams}
        around = self._neighbours(stage)
        everyone = frozenset(streams).union(*(around.get(name, ()) for name in streams))
        above = {
            s.name: self._ledger(s) if not s.table.per_frame else self._digests(s, everyone) for s in stage.upstream
        }
        found = {
            name: _combined(
                [
                    (upstream, near, digests.get(near, _NOTHING))
                    for near in sorted({name, *around.get(name, ())})
                    for upstream, digests in sorted(above.items())
                ]
            )
            for name in streams
        }
        for table in stage.spec.work.lists if stage.spec.work else ():
            listed = _listing_id(self._store.read(table))
            found = {name: _combined([(name, input_id, listed)]) for name, input_id in found.items()}
        # Where nobody has decided anything, ids are as they were before anybody could.
        if any(s.table is schemas.CURATION for s in stage.upstream) and (by_hand := overridden(self._store, everyone)):
            words = [[each for each in by_hand if each[0] in {name, *around.get(name, ())}] for name in streams]
            found = {
                name: _combined([(found[name], *said)]) if said else found[name]
                for name, said in zip(streams, words, strict=True)
            }
        if stage.scope != "run":
            return found
        # What one stream gets of a budget, the others do not; what people have reviewed takes none of it.
        together: list[tuple[object, ...]] = [*sorted(found.items())]
        if stage.spec.work and stage.spec.work.reads_reviews:
            reviews = read_reviews(self._store, REVIEW_COLUMNS)
            together += reviewed_pictures(reviews, streams).iter_rows()
        return {name: _combined([(name, *together)]) for name in found}

    def _digests(self, stage: Stage, streams: frozenset[str]) -> dict[str, Digest]:
        """Return number and digest of each stream's rows of a per-frame stage."""
        found = dict.fromkeys(streams, _NOTHING)
        snapshot = self._store.open(stage.table)
        for batch in snapshot.batches(("stream_id", "frame_idx", "input_id"), stage.key, streams):
            codes = batch["stream_id"].dictionary_encode()
            names, place = codes.dictionary.to_pylist(), codes.indices.to_numpy()
            sums = np.zeros(len(names), np.uint64)
            np.add.at(sums, place, row_terms(batch["frame_idx"].to_numpy(), batch["input_id"].to_numpy()))
            counts = np.bincount(place, minlength=len(names))
            for name, n, total in zip(names, counts.tolist(), sums.tolist(), strict=True):
                count, digest = found[name]
                found[name] = (count + n, (digest + total) % 2**64)
        return found


def _sharing_groups(snapshot: Snapshot, stage_key: str) -> dict[str, set[str]]:
    """Return for each stream those that share a group of duplicates with it, itself included; none shares by itself."""
    columns = ("stream_id", "group_id", "representative_stream")
    crossing = [
        pl.DataFrame(pa.Table.from_batches([batch])).filter(pl.col("stream_id") != pl.col("representative_stream"))
        for batch in snapshot.batches(columns, stage_key, None)
    ]
    if not crossing:
        return {}
    pairs = pl.concat(crossing).unique()
    centres = pairs.select("group_id", pl.col("representative_stream").alias("stream_id"))
    members = pl.concat([pairs.select("group_id", "stream_id"), centres]).unique()
    around: dict[str, set[str]] = {}
    for names in members.group_by("group_id").agg("stream_id")["stream_id"].to_list():
        for name in names:
            around.setdefault(name, set()).update(names)
    return around


def _listing_id(rows: pa.Table) -> str:
    """Return a digest of the rows of a table in any order."""
    return blake3(repr(sorted(map(repr, rows.to_pylist()))).encode()).hexdigest()


def _is_incremental(stage: Stage) -> bool:
    return stage.spec.work is not None and stage.spec.work.incremental


def _combined(parts: Sequence[tuple[object, ...]]) -> int:
    """Return one signed 64-bit id for a sequence of names and digests."""
    return int.from_bytes(blake3(repr(parts).encode()).digest()[:8], "little", signed=True)
