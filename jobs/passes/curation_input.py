"""What verdicts are drawn from: rows of several stages, joined portion by portion and held as numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from jobs.core.stage import Stage
from jobs.storage.batching import portions, stream_sizes
from jobs.storage.file_pruning import Span
from jobs.storage.store import Snapshot, Store
from transforms.core.intervals import place_in_intervals
from transforms.curate.curation import INPUT
from transforms.metrics.hashing import from_hex

_MEASURES = ("sharpness", "luma_mean", "luma_p50", "luma_p95", "entropy")
_KEY = ["stream", "frame_idx"]


def gather(store: Store, stages: Sequence[Stage], streams: frozenset[str]) -> pa.Table:
    """Return what the verdicts on these streams' frames are drawn from, of schema `curation.INPUT`.

    `stages` are those that curation follows; without `idle` or `duplicates` among them no frame is of an interval or of
    a group.
    """
    rows = {
        stage.name: _Rows(store.open(stage.table), stage.key, pa.array(sorted(streams), pa.string()))
        for stage in stages
    }
    sizes = stream_sizes(store)
    idle = rows["idle"].read(("start_idx", "end_idx", "frozen"), streams) if "idle" in rows else None
    frames = stages[0]
    cut = portions(store.open(frames.table), frames.key, sizes, streams)
    return pa.concat_tables([INPUT.empty_table(), *(_joined(rows, idle, *portion) for portion in cut)])


class _Rows:
    """The rows of one stage, with the numbers of their streams for the names, which would be most of what is held."""

    def __init__(self, snapshot: Snapshot, stage_key: str, names: pa.Array) -> None:
        self._snapshot = snapshot
        self._stage_key = stage_key
        self.names = names

    def read(self, columns: Sequence[str], streams: frozenset[str], span: Span = (None, None)) -> pl.DataFrame:
        """Return columns of rows, and the column `stream`: the place of each row's stream among all, sorted."""
        rows = self._snapshot.read(("stream_id", *columns), self._stage_key, streams, span)
        numbers = pc.index_in(rows["stream_id"], value_set=self.names)
        return pl.DataFrame(rows.drop_columns("stream_id").append_column("stream", numbers))


def _joined(rows: Mapping[str, _Rows], idle: pl.DataFrame | None, streams: frozenset[str], span: Span) -> pa.Table:
    columns = ("frame_idx", "status", "width", "height", "input_id")
    frames = rows["frames"].read(columns, streams, span).rename({"input_id": "content_id"})
    frames = frames.with_columns(decodable=pl.col("status") == "ok")
    frames = frames.join(rows["quality"].read(("frame_idx", *_MEASURES), streams, span), on=_KEY, how="left")
    if idle is None:
        frames = frames.with_columns(interval=pl.lit(None, pl.Int64), frozen=pl.lit(None, pl.Boolean))
    else:
        frames = place_in_intervals(frames, idle, "stream")
    if "duplicates" in rows:
        frames = frames.join(_groups(rows["duplicates"], streams, span), on=_KEY, how="left")
    else:
        frames = frames.with_columns(group=pl.lit(None, pl.Int64))
    names = pa.DictionaryArray.from_arrays(frames["stream"].to_arrow().cast(pa.int32()), rows["frames"].names)
    joined = frames.drop("stream", "status").to_arrow().add_column(0, "stream_id", names)
    return joined.select(INPUT.names).cast(INPUT)


def _groups(duplicates: _Rows, streams: frozenset[str], span: Span) -> pl.DataFrame:
    """Return the group of each frame that is in one, as a number."""
    rows = duplicates.read(("frame_idx", "group_id"), streams, span)
    numbers = pl.Series("group", from_hex(rows["group_id"].to_arrow()).view(np.int64))
    return rows.select(*_KEY, numbers)
