"""Commits the data files of workers every few seconds; if another writer was first, frames done by now are dropped."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

import schemas
from jobs.core.stage import Stage
from jobs.storage.data_files import Part, write_part
from jobs.storage.file_integrity import read_verified
from jobs.storage.store import Change, ConflictError, Drop, Snapshot, Store
from schemas import FRAME_KEY

_SHARE_OF_TIME = 10


@dataclass
class _Pending:
    parts: list[Part] = field(default_factory=list)
    replacing: list[Part] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.parts or self.replacing)


class Committer:
    """Collects parts and commits them every few seconds, one transaction per table.

    It starts from the snapshots that the plan was made on. As long as no other writer commits to a table, parts of
    frames without a row can simply be added. Once another writer did, each part is first compared with the live rows,
    and loses the frames that are done by now.
    """

    def __init__(
        self,
        store: Store,
        stages: Sequence[Stage],
        planned_on: Mapping[str, Snapshot],
        job_id: str,
        every_s: float,
        on_commit: Callable[[str, int, float], None] = lambda table, rows, seconds: None,
    ) -> None:
        self._store = store
        self._stages = {s.table.name: s for s in stages}
        self._snapshots = dict(planned_on)
        self._job_id = job_id
        self.every_s = every_s
        self._on_commit = on_commit
        self._pending = {name: _Pending() for name in self._stages}
        self._shared: set[str] = set()
        self._last = 0.0
        self._took_s = 0.0
        self.n_commits = 0

    def add(self, part: Part, may_replace: bool) -> None:
        """Add a part; `may_replace`: some of its frames may have a row already."""
        pending = self._pending[part.table]
        (pending.replacing if may_replace else pending.parts).append(part)

    def maybe_flush(self) -> bool:
        """Commit if it is time to; return whether it did. Commits take at most a tenth of the time."""
        due = self._last + max(self.every_s, _SHARE_OF_TIME * self._took_s)
        if not any(self._pending.values()) or time.monotonic() < due:
            return False
        self.flush()
        return True

    def flush(self) -> None:
        """Commit everything that was added."""
        started = time.monotonic()
        for name, pending in self._pending.items():
            if pending:
                began = time.monotonic()
                n_rows = sum(part.n_rows for part in (*pending.parts, *pending.replacing))
                self._commit(self._stages[name], pending)
                self._pending[name] = _Pending()
                self.n_commits += 1
                self._on_commit(name, n_rows, time.monotonic() - began)
        self._last = time.monotonic()
        self._took_s = self._last - started

    def remove(self, table: str, keys: pa.Table) -> None:
        """Delete the rows of frames that are no longer there."""
        drop = Drop(stage_key=self._stages[table].key, keys=keys)
        self._snapshots[table] = self._store.transact(
            self._stages[table].table, lambda _: Change(drop=[drop]), self._job_id
        )
        self._shared.add(table)

    def _commit(self, stage: Stage, pending: _Pending) -> None:
        while True:
            snapshot = self._snapshots[stage.table.name]
            before = snapshot.version
            change = self._change(stage, pending, snapshot)
            try:
                after = snapshot.commit(change, self._job_id)
            except ConflictError:
                self._shared.add(stage.table.name)
                self._snapshots[stage.table.name] = self._store.open(stage.table)
                continue
            if after.version > before + 1:
                self._shared.add(stage.table.name)
            self._snapshots[stage.table.name] = after
            return

    def _change(self, stage: Stage, pending: _Pending, snapshot: Snapshot) -> Change:
        if stage.table.name in self._shared:
            checked = [self._against_live(stage, p, snapshot) for p in (*pending.parts, *pending.replacing)]
            left = [part for part in checked if part is not None]
            return Change(left, [Drop(stage.key, keys=self._keys(left))] if left else [])
        if not pending.replacing:
            return Change(pending.parts)
        drop = Drop(stage.key, keys=self._keys(pending.replacing))
        return Change([*pending.parts, *pending.replacing], [drop])

    def _keys(self, parts: Sequence[Part]) -> pa.Table:
        return pa.concat_tables([self._rows(part, FRAME_KEY) for part in parts])

    def _rows(self, part: Part, columns: Sequence[str] | None = None) -> pa.Table:
        wanted = None if columns is None else list(columns)
        return read_verified(self._store.root / part.table, part.path, part.size_bytes, wanted)

    def _against_live(self, stage: Stage, part: Part, snapshot: Snapshot) -> Part | None:
        """Return the part without the frames that somebody else has done from the same input."""
        same = [*FRAME_KEY, "input_id", *(["stat_id"] if stage.table is schemas.FRAMES else [])]
        rows = self._rows(part)
        span = (part.low["frame_idx"], part.high["frame_idx"] + 1)
        streams = frozenset(pc.unique(rows["stream_id"]).to_pylist())
        live = pl.DataFrame(snapshot.read(same, stage.key, streams, span))
        mine = pl.DataFrame(rows.select(same)).with_row_index("at")
        left = mine.join(live, on=same, how="anti").sort("at")
        if left.height == rows.num_rows:
            return part
        if not left.height:
            return None
        return write_part(self._store.root, stage.table, rows.take(left["at"].to_arrow()), part.partition)
