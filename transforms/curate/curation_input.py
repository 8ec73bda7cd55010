"""Input of curation: rows of several stages, joined portion by portion and held as numbers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from transforms.core.intervals import place_in_intervals
from transforms.core.table_stage import Span, StageRows, TableInput, TableOutput
from transforms.curate.curation import INPUT, MEASURED, curate
from transforms.metrics.hashing import from_hex

_KEY = ["stream", "frame_idx"]


def compute_curation(given: TableInput) -> TableOutput:
    """Return rows of `curation` for the streams that are its scopes.

    A group of duplicates is decided as a whole, so that the streams that share one are read together.
    """
    rows = gather(given.above, given.streams)
    decided = curate(rows, given.params["curation"], given.params["blur"].method, given.params["idle"].keep)
    decided = decided.filter(pc.is_in(decided["stream_id"], pa.array(list(given.scopes))))
    names = decided["stream_id"].combine_chunks().dictionary_encode()
    ids = pa.array([given.scopes[name] for name in names.dictionary.to_pylist()], pa.int64()).take(names.indices)
    own = pc.sum(pc.is_in(decided["stream_id"], pa.array(sorted(given.own)))).as_py() or 0
    return TableOutput(decided.append_column("input_id", ids), own)


def gather(above: Mapping[str, StageRows], streams: Collection[str]) -> pa.Table:
    """Return what is decided from about the frames of some streams, of schema `curation.INPUT`.

    `above` are the stages that curation reads; without `idle` or `duplicates` among them no frame is in an interval or
    in a group.
    """
    names = pa.array(sorted(streams), pa.string())
    rows = {name: _Rows(stage, names) for name, stage in above.items()}
    idle = rows["idle"].read(("start_idx", "end_idx", "frozen"), streams) if "idle" in rows else None
    portions = above["frames"].portions(streams)
    return pa.concat_tables([INPUT.empty_table(), *(_joined(rows, idle, *portion) for portion in portions)])


class _Rows:
    """The rows of one stage, with the numbers of their streams for the names, which would be most of what is held."""

    def __init__(self, stage: StageRows, names: pa.Array) -> None:
        self._stage = stage
        self.names = names

    def read(self, columns: Sequence[str], streams: Collection[str], span: Span = (None, None)) -> pl.DataFrame:
        """Return columns of rows, and the column `stream`: the place of each row's stream among all, sorted."""
        rows = self._stage.read(("stream_id", *columns), streams, span)
        numbers = pc.index_in(rows["stream_id"], value_set=self.names)
        return pl.DataFrame(rows.drop_columns("stream_id").append_column("stream", numbers))


def _joined(rows: Mapping[str, _Rows], idle: pl.DataFrame | None, streams: Collection[str], span: Span) -> pa.Table:
    columns = ("frame_idx", "status", "damage", "width", "height", "input_id")
    frames = rows["frames"].read(columns, streams, span).rename({"input_id": "content_id"})
    frames = frames.with_columns(decodable=pl.col("status") == "ok", damaged_data=pl.col("damage") == "data")
    frames = frames.join(rows["quality"].read(("frame_idx", *MEASURED), streams, span), on=_KEY, how="left")
    if idle is None:
        frames = frames.with_columns(interval=pl.lit(None, pl.Int64), frozen=pl.lit(None, pl.Boolean))
    else:
        frames = place_in_intervals(frames, idle, "stream")
    if "duplicates" in rows:
        frames = frames.join(_groups(rows["duplicates"], streams, span), on=_KEY, how="left")
    else:
        frames = frames.with_columns(group=pl.lit(None, pl.Int64))
    names = pa.DictionaryArray.from_arrays(frames["stream"].to_arrow().cast(pa.int32()), rows["frames"].names)
    joined = frames.drop("stream", "status", "damage").to_arrow().add_column(0, "stream_id", names)
    return joined.select(INPUT.names).cast(INPUT)


def _groups(duplicates: _Rows, streams: Collection[str], span: Span) -> pl.DataFrame:
    """Return the group of each frame that is in one, as a number."""
    rows = duplicates.read(("frame_idx", "group_id"), streams, span)
    numbers = pl.Series("group", from_hex(rows["group_id"].to_arrow()).view(np.int64))
    return rows.select(*_KEY, numbers)
