"""Classes that declare a table, and the check of rows against a declaration."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

FRAME_KEY = ("stream_id", "frame_idx")


class SchemaMismatchError(ValueError):
    """Rows do not have the columns, types or keys that their table declares."""


@dataclass(frozen=True)
class Column:
    """One column of a table.

    `unit` is the unit of a number (`px`, `bytes`, `ns`, `luma 0..255`); `low` and `high` are its inclusive bounds. With
    `on_request` it has values only where the configuration requests it; it is then no part of stage keys by itself.
    """

    name: str
    dtype: pa.DataType
    doc: str
    unit: str = ""
    nullable: bool = False
    low: float | None = None
    high: float | None = None
    on_request: bool = False


@dataclass(frozen=True)
class Table:
    """One Delta table: its columns in order, the key that makes a row unique, and how it is partitioned.

    `stage` is the stage that writes it, if its name is not the table's; `order` the columns by which its files are
    sorted, if these are not the key. Where it has a row per frame, `in_curated` makes its columns part of `curated`.
    """

    name: str
    doc: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    partition_by: tuple[str, ...] = ()
    stage: str = ""
    order: tuple[str, ...] = ()
    in_curated: bool = True

    @cached_property
    def arrow_schema(self) -> pa.Schema:
        """Return the Arrow schema: names, types and nullability, in the declared order."""
        return pa.schema([pa.field(c.name, c.dtype, nullable=c.nullable) for c in self.columns])

    @cached_property
    def file_schema(self) -> pa.Schema:
        """Return the schema of a data file: Delta keeps partition values in its log, not in the files."""
        return pa.schema([f for f in self.arrow_schema if f.name not in self.partition_by])

    @property
    def has_stage_key(self) -> bool:
        """Return whether rows belong to a stage configuration."""
        return "stage_key" in self.partition_by

    @property
    def per_frame(self) -> bool:
        """Return whether a stage writes exactly one row per frame into this table."""
        return self.has_stage_key and self.key == ("stage_key", *FRAME_KEY)

    @property
    def of_intervals(self) -> bool:
        """Return whether a stage writes intervals of frames into this table."""
        return self.has_stage_key and {"stream_id", "start_idx", "end_idx"} <= {column.name for column in self.columns}

    @property
    def written_by(self) -> str:
        """Return the name of the stage that writes the table."""
        return self.stage or self.name

    @property
    def file_order(self) -> tuple[str, ...]:
        """Return the columns by which the rows of a file are sorted."""
        return self.order or self.file_key

    @property
    def file_key(self) -> tuple[str, ...]:
        """Return the columns that make a row unique within its partition."""
        return tuple(name for name in self.key if name not in self.partition_by)

    def empty(self) -> pa.Table:
        """Return a table without rows."""
        return self.arrow_schema.empty_table()

    def check(self, rows: pa.Table) -> None:
        """Raise `SchemaMismatchError` with every difference between rows for a data file and this declaration.

        Partition columns are not expected, since Delta keeps them out of the files.
        """
        problems = [*self._column_problems(rows)]
        if not problems:
            problems += [*self._value_problems(rows), *self._key_problems(rows)]
        if problems:
            raise SchemaMismatchError(f"rows do not fit table {self.name!r}: " + "; ".join(problems))

    def _column_problems(self, rows: pa.Table) -> list[str]:
        found = {field.name: field.type for field in rows.schema}
        expected = {field.name: field.type for field in self.file_schema}
        problems = [f"column {n!r} is missing (expected {t})" for n, t in expected.items() if n not in found]
        problems += [
            f"column {n!r} is {found[n]}, expected {t}" for n, t in expected.items() if n in found and found[n] != t
        ]
        problems += [f"column {name!r} is not declared" for name in found if name not in expected]
        return problems

    def _value_problems(self, rows: pa.Table) -> list[str]:
        problems = []
        for c in self.columns:
            if c.name in self.partition_by:
                continue
            values = rows[c.name]
            if not c.nullable and values.null_count:
                problems.append(f"column {c.name!r} holds {values.null_count} nulls")
            if c.low is None and c.high is None:
                continue
            bounds = pc.min_max(values).as_py()
            if c.low is not None and bounds["min"] is not None and bounds["min"] < c.low:
                problems.append(f"column {c.name!r} goes down to {bounds['min']}, lowest allowed is {c.low}")
            if c.high is not None and bounds["max"] is not None and bounds["max"] > c.high:
                problems.append(f"column {c.name!r} goes up to {bounds['max']}, highest allowed is {c.high}")
        return problems

    def _key_problems(self, rows: pa.Table) -> list[str]:
        key = list(self.file_key)
        repeated = rows.num_rows - rows.select(key).group_by(key).aggregate([]).num_rows
        return [f"{repeated} rows repeat a key of ({', '.join(key)})"] if repeated else []


STREAM_ID = Column("stream_id", pa.string(), "The camera stream: one folder of frames, or one clip.")
FRAME_IDX = Column(
    "frame_idx",
    pa.int64(),
    "Number of the frame: what its file name says (see `streams.naming`), or its position in the clip. Frames are "
    "ordered by it.",
    low=0,
)
STAGE_COLUMNS = (
    Column("stage_key", pa.string(), "Hash of the stage's code, parameters and upstream keys that made the row."),
    Column(
        "input_id", pa.int64(), "Hash of the inputs from which the row was computed; if these change, the row is stale."
    ),
)


def stage_table(
    name: str,
    doc: str,
    key: tuple[str, ...],
    columns: tuple[Column, ...],
    stage: str = "",
    order: tuple[str, ...] = (),
) -> Table:
    """Declare a table that a stage writes: partitioned by `stage_key`, with `input_id` in every row."""
    return Table(name, doc, ("stage_key", *key), (*STAGE_COLUMNS, *columns), ("stage_key",), stage, order)


def frame_table(name: str, doc: str, columns: tuple[Column, ...], stage: str = "", in_curated: bool = True) -> Table:
    """Declare a stage table with exactly one row per frame."""
    table = stage_table(name, doc, FRAME_KEY, (STREAM_ID, FRAME_IDX, *columns), stage)
    return replace(table, in_curated=in_curated)
