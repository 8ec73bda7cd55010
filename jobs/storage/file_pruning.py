"""File pruning: filters by streams and frame numbers, on data files by their statistics and on rows."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.dataset as pads

import schemas
from jobs.storage.data_files import Part

Span = tuple[int | None, int | None]
"""Frame numbers from the first to before the second; None leaves an end open."""


@dataclass(frozen=True)
class DataFile:
    """A committed file: its path below the table, its partition, and bounds of the columns in its statistics."""

    path: str
    size_bytes: int
    n_rows: int
    stage_key: str | None
    low_stream: str | None
    high_stream: str | None
    low_idx: int | None
    high_idx: int | None

    @classmethod
    def of(cls, part: Part) -> DataFile:
        """Return a part as a committed file."""
        bounds = [bound.get(name) for name in ("stream_id", "frame_idx") for bound in (part.low, part.high)]
        return cls(part.path, part.size_bytes, part.n_rows, part.partition.get("stage_key"), *bounds)

    @classmethod
    def of_actions(cls, actions: pa.Table) -> list[DataFile]:
        """Return the files that the library's list of a version names."""
        bounds = ("min.stream_id", "max.stream_id", "min.frame_idx", "max.frame_idx")
        wanted = ("path", "size_bytes", "num_records", "partition.stage_key", *bounds)
        absent = [None] * actions.num_rows
        columns = [actions[n].to_pylist() if n in actions.column_names else absent for n in wanted]
        return [cls(*values) for values in zip(*columns, strict=True)]

    def may_hold(self, streams: frozenset[str] | None, span: Span) -> bool:
        """Return whether rows of these streams and frame numbers can be in the file."""
        if streams is not None and self.low_stream is not None and self.high_stream is not None:
            if self.low_stream == self.high_stream:
                if self.low_stream not in streams:
                    return False
            elif not any(self.low_stream <= s <= self.high_stream for s in streams):
                return False
        low, high = span
        if self.low_idx is None or self.high_idx is None:
            return True
        return (low is None or self.high_idx >= low) and (high is None or self.low_idx < high)


def row_filter(table: schemas.Table, streams: frozenset[str] | None, span: Span) -> pads.Expression | None:
    """Return the filter for rows of streams within a span of frame numbers; None where that is all of them."""
    tests = []
    if streams is not None and "stream_id" in table.file_schema.names:
        tests.append(pads.field("stream_id").isin(sorted(streams)))
    if "frame_idx" in table.file_schema.names:
        if span[0] is not None:
            tests.append(pads.field("frame_idx") >= span[0])
        if span[1] is not None:
            tests.append(pads.field("frame_idx") < span[1])
    combined = None
    for test in tests:
        combined = test if combined is None else combined & test
    return combined
