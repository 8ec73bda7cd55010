"""Rows of stages as table stages read them: from one version of each table."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import pyarrow as pa

import schemas
from jobs.core.stage import Stage
from jobs.storage.store import Snapshot, Store
from jobs.storage.stream_batches import portions, stream_sizes
from jobs.views import imported_labels
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


def read_reviews(store: Store, columns: Sequence[str]) -> pa.Table:
    """Return columns of `reviews`, with a row `seen` for each frame with imported ground truth."""
    imports = store.read(schemas.IMPORTS)
    return imported_labels.with_ground_truth(store.read(schemas.REVIEWS, columns), imports)
