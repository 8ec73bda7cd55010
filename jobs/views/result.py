"""Results of SQL as Arrow tables: in pieces of one size, with unique column names and plain integers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import count

import pyarrow as pa

from jobs.core.errors import UserError, one_line


def in_pieces(reader: pa.RecordBatchReader, size: int) -> Iterator[pa.Table]:
    """Yield a result in tables of `size` rows (the last one of fewer), at least one, all of the first one's types.

    Raises `UserError` for a sum that is too large for the type that those before it had.
    """
    schema = None
    for rows in _of_size(reader, size):
        alike = presentable(rows) if schema is None else rows.rename_columns(schema.names)
        schema = schema or alike.schema
        try:
            yield alike.cast(schema)
        except pa.ArrowInvalid as error:
            raise UserError(f"SQL: {one_line(error)}; name the type, as in CAST(sum(x) AS DOUBLE)") from error


def presentable(rows: pa.Table) -> pa.Table:
    """Return a result with unique column names, and 128-bit sums as 64-bit integers where these hold them.

    >>> presentable(pa.table([[1], [2]], names=["n", "n"])).column_names
    ['n', 'n_2']
    """
    names: list[str] = []
    for name in rows.column_names:
        number = next(n for n in count(1) if (name if n == 1 else f"{name}_{n}") not in names)
        names.append(name if number == 1 else f"{name}_{number}")
    rows = rows.rename_columns(names)
    for at, column in enumerate(rows.schema):
        if pa.types.is_decimal(column.type) and column.type.scale == 0:
            with suppress(pa.ArrowInvalid):
                rows = rows.set_column(at, column.name, rows.column(at).cast(pa.int64()))
    return rows


def _batches(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """Yield batches; what goes wrong while they are computed is raised as `duckdb.Error`, not as Arrow's."""
    import duckdb

    try:
        yield from reader
    except (pa.ArrowException, OSError) as error:
        raise duckdb.Error(str(error)) from error


def _of_size(reader: pa.RecordBatchReader, size: int) -> Iterator[pa.Table]:
    """Cut batches of any sizes into tables of one, so that what is written does not depend on who computed it."""
    held: list[pa.RecordBatch] = []
    n = 0
    for batch in _batches(reader):
        rest = batch
        while n + rest.num_rows >= size:
            yield pa.Table.from_batches([*held, rest.slice(0, size - n)], reader.schema)
            rest, held, n = rest.slice(size - n), [], 0
        if rest.num_rows:
            held.append(rest)
            n += rest.num_rows
    yield pa.Table.from_batches(held, reader.schema)
