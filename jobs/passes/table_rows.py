"""Rows of stages as table stages read them: from one version of each table."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import polars as pl
import pyarrow as pa

import schemas
from jobs.core.stage import Stage
from jobs.storage.store import Snapshot, Store
from jobs.storage.stream_batches import portions, stream_sizes
from jobs.views import imported_labels, overridden_verdicts
from transforms.core.table_stage import Span


class RowsInStore:
    """The rows that a stage has under its key; a `transforms.core.table_stage.StageRows`."""

    def __init__(self, store: Store, stage: Stage, snapshot: Snapshot | None = None) -> None:
        """Read from `snapshot` of the stage's table, or from what is newest when a table is first read."""
        self._store = store
        self._stage = stage
        self._snapshots = {stage.table.name: snapshot} if snapshot else {}

    def read(
        self,
        columns: Sequence[str] | None,
        streams: Collection[str] | None = None,
        span: Span = (None, None),
        table: str = "",
    ) -> pa.Table:
        """Return columns of the rows of some streams, of the stage's table or of another one that it writes."""
        within = None if streams is None else frozenset(streams)
        return self._snapshot(table or self._stage.table.name).read(columns, self._stage.key, within, span)

    def batches(self, columns: Sequence[str], streams: Collection[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield columns of the rows of some streams, or of all, in no order."""
        within = None if streams is None else frozenset(streams)
        yield from self._snapshot(self._stage.table.name).batches(columns, self._stage.key, within)

    def portions(self, streams: Collection[str]) -> Iterator[tuple[frozenset[str], Span]]:
        """Yield portions of the frames that it has rows for that fit in memory."""
        snapshot = self._snapshot(self._stage.table.name)
        return portions(snapshot, self._stage.key, stream_sizes(self._store), frozenset(streams))

    def _snapshot(self, table: str) -> Snapshot:
        if table not in self._snapshots:
            self._snapshots[table] = self._store.open(schemas.BY_NAME[table])
        return self._snapshots[table]


class VerdictsInStore(RowsInStore):
    """The verdicts of curation with the last word of people, which is newer than the rows and changes no stage key.

    Only `read` applies it: no table stage reads verdicts in batches.
    """

    def read(
        self,
        columns: Sequence[str] | None,
        streams: Collection[str] | None = None,
        span: Span = (None, None),
        table: str = "",
    ) -> pa.Table:
        """Return columns of the verdicts of some streams, as overrides have them."""
        overrides = self._snapshot(schemas.OVERRIDES.name)
        if not overrides.n_rows:
            return super().read(columns, streams, span, table)
        wanted = columns or schemas.CURATION.file_schema.names
        verdicts = super().read([*dict.fromkeys((*wanted, *schemas.FRAME_KEY))], streams, span, table)
        within = None if streams is None else frozenset(streams)
        frames = self._stage.upstream_of(schemas.FRAMES)
        images = self._snapshot(schemas.FRAMES.name).read(overridden_verdicts.IMAGE, frames.key, within, span)
        by_hand = overridden_verdicts.valid(_lazy(overrides.read()), _lazy(images))
        # In the order of the rows, and with their types.
        found = overridden_verdicts.applied(_lazy(verdicts).with_row_index("_at"), by_hand).sort("_at").drop("_at")
        return found.collect().to_arrow().cast(verdicts.schema).select(wanted)


def rows_of_stage(store: Store, stage: Stage) -> RowsInStore:
    """Return what a table stage that reads another one sees of it."""
    return (VerdictsInStore if stage.table is schemas.CURATION else RowsInStore)(store, stage)


def overridden(store: Store, streams: Collection[str]) -> list[tuple[object, ...]]:
    """Return what people have decided about frames of some streams, in order, as a part of what a scope depends on."""
    rows = pl.DataFrame(store.read(schemas.OVERRIDES, (*overridden_verdicts.IMAGE, "decision")))
    return sorted(rows.filter(pl.col("stream_id").is_in(sorted(streams))).iter_rows())


def _lazy(rows: pa.Table) -> pl.LazyFrame:
    return pl.LazyFrame(pl.DataFrame(rows))


def read_reviews(store: Store, columns: Sequence[str]) -> pa.Table:
    """Return columns of `reviews`, with a row `seen` for each frame with imported ground truth."""
    imports = store.read(schemas.IMPORTS)
    return imported_labels.with_ground_truth(store.read(schemas.REVIEWS, columns), imports)
