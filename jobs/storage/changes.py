"""A change of a table in one transaction: files to add, rows to drop, files to retire."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

import schemas
from jobs.storage.data_files import Part
from jobs.storage.file_integrity import read_verified
from jobs.storage.file_pruning import DataFile, Span
from jobs.storage.paths import Place


class ConflictError(Exception):
    """Another writer committed to the table since the snapshot was taken."""


@dataclass(frozen=True)
class Drop:
    """Rows that a change deletes: of one stage key, whole streams or the rows with the given keys.

    `keys` holds columns of the table's key; None, with no `streams`, means every row.
    """

    stage_key: str | None = None
    streams: frozenset[str] | None = None
    keys: pa.Table | None = None


@dataclass(frozen=True)
class DropBounds:
    """A drop with the bounds of the rows that it deletes."""

    drop: Drop
    streams: frozenset[str] | None
    span: Span

    @classmethod
    def of(cls, drop: Drop) -> DropBounds:
        """Return a drop with its bounds."""
        streams, span = drop.streams, (None, None)
        if drop.keys is not None and "stream_id" in drop.keys.column_names:
            streams = frozenset(pc.unique(drop.keys["stream_id"]).to_pylist())
            if "frame_idx" in drop.keys.column_names and drop.keys.num_rows:
                bounds = pc.min_max(drop.keys["frame_idx"]).as_py()
                span = (bounds["min"], bounds["max"] + 1)
        return cls(drop, streams, span)

    def may_affect(self, file: DataFile) -> bool:
        """Return whether the drop can delete rows of a file."""
        right_key = self.drop.stage_key is None or file.stage_key == self.drop.stage_key
        return right_key and file.may_hold(self.streams, self.span)


@dataclass(frozen=True)
class Change:
    """One transaction: parts to add, rows to drop, files to retire whole (their rows are in the parts)."""

    add: Sequence[Part] = ()
    drop: Sequence[Drop] = ()
    retire: Sequence[DataFile] = ()

    @property
    def is_rewrite(self) -> bool:
        """Return whether rows only move between files."""
        return bool(self.retire) and not self.drop


def remaining_rows(folder: Place, table: schemas.Table, file: DataFile, drops: Sequence[Drop]) -> pa.Table | None:
    """Return the rows of a file that stay, or None where all of them do; `folder` is the table's."""
    if any(drop.keys is None and drop.streams is None for drop in drops):
        return table.file_schema.empty_table()
    keys = {name for drop in drops for name in (drop.keys.column_names if drop.keys is not None else ["stream_id"])}
    present = pl.DataFrame(read_verified(folder, file.path, file.size_bytes, sorted(keys))).with_row_index("at")
    stay = present
    for drop in drops:
        if drop.keys is not None:
            gone = pl.DataFrame(drop.keys).unique()
            stay = stay.join(gone, on=drop.keys.column_names, how="anti")
        else:
            stay = stay.filter(~pl.col("stream_id").is_in(list(drop.streams or ())))
    if stay.height == present.height:
        return None
    if not stay.height:
        return table.file_schema.empty_table()
    at = stay.sort("at")["at"].to_arrow()
    return read_verified(folder, file.path, file.size_bytes).take(at).cast(table.file_schema)


def without_unchanged(added: Sequence[Part], retired: list[DataFile]) -> list[Part]:
    """Return `added` without the files that would be removed and added again; deletes them from `retired` too."""
    paths = {p.path for p in added} & {f.path for f in retired}
    retired[:] = [f for f in retired if f.path not in paths]
    return [p for p in added if p.path not in paths]
