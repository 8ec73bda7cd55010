"""The relations that one statement reads, and the locked DuckDB connection that has these alone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from jobs.views.result import batches

if TYPE_CHECKING:
    import polars as pl
    import pyarrow.dataset as pads

_BATCH_ROWS = 1 << 17
_LITERAL = re.compile(r"'(?:[^']|'')*'")
_WORD = re.compile(r'"[^"]+"|\w+')


@dataclass(frozen=True)
class Relations:
    """Arrow data by name, and SELECTs by name, each of which reads those before it."""

    data: dict[str, pa.Table | pads.Dataset] = field(default_factory=dict)
    views: dict[str, str] = field(default_factory=dict)

    def register(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Make the relations known to a connection, then take from it all access to files and to its configuration."""
        for name, rows in self.data.items():
            connection.register(name, rows)
        for name, statement in self.views.items():
            connection.execute(f'CREATE VIEW "{name}" AS {statement}')
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")


def words_of(statement: str) -> frozenset[str]:
    """Return all names and keywords in a SELECT that this package wrote; those of its relations are among them.

    >>> sorted(words_of("SELECT * FROM quality_all WHERE stage_key = 'frames'"))
    ['FROM', 'SELECT', 'WHERE', 'quality_all', 'stage_key']
    """
    return frozenset(word.strip('"') for word in _WORD.findall(_LITERAL.sub("", statement)))


@contextmanager
def connect() -> Iterator[duckdb.DuckDBPyConnection]:
    """Give a connection to a database in memory, which does not take Python variables for tables."""
    with duckdb.connect(":memory:", config={"python_enable_replacements": False}) as connection:
        yield connection


def scan(
    relations: Relations, name: str, schema: pa.Schema, errors: Callable[[], AbstractContextManager[None]]
) -> pl.LazyFrame:
    """Return one of the relations as a Polars lazy frame; DuckDB computes it batch by batch when it is collected.

    Only the columns that are needed are computed. Filters are applied to each batch. `collect` raises what `errors`
    makes of the errors of DuckDB.
    """
    import polars as pl
    from polars.io.plugins import register_io_source

    types = pl.Schema(schema)

    def rows(
        columns: Sequence[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_rows: int | None
    ) -> Iterator[pl.DataFrame]:
        wanted = list(types) if columns is None else list(columns)
        selected = ", ".join(f'"{column}"' for column in wanted) or "1"
        limit = "" if n_rows is None else f" LIMIT {n_rows}"
        chosen = predicate if predicate is None else _without_hints(predicate)
        with connect() as connection, errors():
            relations.register(connection)
            result = connection.sql(f'SELECT {selected} FROM "{name}"{limit}')
            for batch in batches(result.to_arrow_reader(batch_rows or _BATCH_ROWS)):
                frame = pl.DataFrame(batch).cast({column: types[column] for column in wanted})
                yield frame if chosen is None else frame.filter(chosen)

    return register_io_source(rows, schema=types, validate_schema=False, is_pure=True)


def _without_hints(predicate: pl.Expr) -> pl.Expr | None:
    """Return a predicate without what Polars adds to it for the first rows of an order, and itself cannot evaluate."""
    import polars as pl

    text = predicate.meta.serialize(format="json")
    if "dynamic_pred" not in text:
        return predicate
    tree = _stripped(json.loads(text))
    return None if tree is None else pl.Expr.deserialize(json.dumps(tree).encode(), format="json")


def _stripped(tree: Any) -> Any:
    if str(tree.get("Display", {}).get("fmt_str", "")).startswith("dynamic_pred"):
        return None
    both = tree.get("BinaryExpr")
    if not both or both["op"] != "And":
        return tree
    left, right = _stripped(both["left"]), _stripped(both["right"])
    return {"BinaryExpr": both | {"left": left, "right": right}} if left and right else left or right
