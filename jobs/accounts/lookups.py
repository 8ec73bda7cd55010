"""Queries that every request makes: compiled once, on connections of their own that begin no transaction.

A session, a key and a role are looked up for each request, since an answer that was remembered would outlive the right
that it stands on. What is saved is the work around the query: taking a connection, beginning, compiling, ending.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy import Engine, Select
from sqlalchemy.exc import DBAPIError

from jobs.accounts.faults import as_user_error, of_driver


class Lookup:
    """A query whose only parameters are named `p0`, `p1` and so on, in the order of the values that are given."""

    def __init__(self, query: Select[Any]) -> None:
        self.query = query


class Readers:
    """Connections for lookups, as many as there are at once; safe to use from many threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # Taking and returning at its end needs no lock.
        self._free: deque[Any] = deque()
        self._compiled: dict[Lookup, tuple[str, Any]] = {}
        self._is_closed = False

    def first(self, lookup: Lookup, values: Sequence[Any]) -> tuple[Any, ...] | None:
        """Return the first row, of what was committed last. Raises `UnreachableError` for a database that fails."""
        compiled = self._compiled.get(lookup)
        if compiled is None:
            compiled = self._compiled[lookup] = self._compile(lookup)
        text, names = compiled
        parameters = {f"p{at}": value for at, value in enumerate(values)}
        given = parameters if names is None else [parameters[name] for name in names]
        library = self._engine.dialect.loaded_dbapi
        try:
            try:
                connection = self._free.pop()
            except IndexError:
                return self._ask(self._connected(), text, given)
            try:
                return self._ask(connection, text, given)
            except library.OperationalError:
                # A server that was restarted has ended all connections that wait here.
                self._drop_free()
                return self._ask(self._connected(), text, given)
        except library.Error as error:
            raise of_driver(error, library) from error
        except DBAPIError as error:
            raise as_user_error(error) from error

    def close(self) -> None:
        """Close the connections that nobody uses; those in use are closed when they come back."""
        self._is_closed = True
        self._drop_free()

    def _ask(self, connection: Any, text: str, given: Any) -> tuple[Any, ...] | None:
        try:
            row: tuple[Any, ...] | None = connection.execute(text, given).fetchone()
        except BaseException:
            connection.close()
            raise
        if self._is_closed:
            connection.close()
        else:
            self._free.append(connection)
        return row

    def _compile(self, lookup: Lookup) -> tuple[str, Any]:
        """Return the text of a query, and the order of its parameters where they have no names in it."""
        compiled = lookup.query.compile(dialect=self._engine.dialect)
        return str(compiled), getattr(compiled, "positiontup", None)

    def _connected(self) -> Any:
        """Return a connection of the driver that is set up as all of this engine, and belongs to no pool."""
        pooled = self._engine.raw_connection()
        connection: Any = pooled.dbapi_connection
        pooled.detach()
        if self._engine.dialect.name != "sqlite":
            connection.autocommit = True
        return connection

    def _drop_free(self) -> None:
        with suppress(IndexError):
            while True:
                self._free.pop().close()
