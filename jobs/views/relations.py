"""The relations that one statement reads, and the sandbox of SQL: a DuckDB connection that has these alone, locked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

if TYPE_CHECKING:
    import duckdb
    import polars as pl
    import pyarrow.dataset as pads

_LITERAL = re.compile(r"'(?:[^']|'')*'")
_WORD = re.compile(r"\w+")
_AGAIN_S = 0.05


@dataclass(frozen=True)
class Relations:
    """Rows by name, and SELECTs by name, each of which reads those before it.

    Of a lazy frame DuckDB has Polars compute the columns and rows that a statement needs.
    """

    data: dict[str, pa.Table | pads.Dataset | pl.LazyFrame] = field(default_factory=dict)
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
    return frozenset(_WORD.findall(_LITERAL.sub("", statement)))


class Limits(NamedTuple):
    """What a statement may take: time in seconds, and memory of the database in bytes. It writes nothing to disk."""

    seconds: float
    memory_bytes: int


@contextmanager
def connect(limits: Limits | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """Give a connection to a database in memory, which does not take Python variables for tables.

    What takes longer than the limits allow is interrupted.
    """
    # Only SQL needs it, and few of those who read tables do.
    import duckdb

    config: dict[str, str | bool | int | float | list[str]] = {"python_enable_replacements": False}
    if limits is not None:
        config |= {"memory_limit": f"{limits.memory_bytes}B", "temp_directory": ""}
    with (
        duckdb.connect(":memory:", config=config) as connection,
        nullcontext() if limits is None else _interrupted_after(limits.seconds, connection),
    ):
        yield connection


@contextmanager
def _interrupted_after(seconds: float, connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Interrupt what runs on a connection after some seconds, and what begins afterwards, until the end.

    An interrupt ends what runs at that moment alone. Between two statements it ends nothing: where the machine is busy
    and the time was over before the query began, the query would run without any limit.
    """
    is_over = Event()

    def interrupt() -> None:
        pause = seconds
        while not is_over.wait(pause):
            connection.interrupt()
            pause = _AGAIN_S

    clock = Thread(target=interrupt, name="time limit", daemon=True)
    clock.start()
    try:
        yield
    finally:
        is_over.set()
        # It reaches for the connection, which is closed next.
        clock.join()
