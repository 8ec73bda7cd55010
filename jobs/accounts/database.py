"""The database of accounts: SQLite with one writer and group commit, or PostgreSQL; only this module knows which.

What `Database.write` returned is on disk. Work that is queued meanwhile shares one transaction, each piece in a
savepoint of its own, so that many small writes cost one flush. SQLite keeps a write-ahead log and flushes it at each
commit (`synchronous=FULL`), so that a process that dies at any time loses nothing that was acknowledged.
"""

from __future__ import annotations

import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoneFreeError

from jobs.accounts.errors import UnreachableError
from jobs.accounts.faults import as_user_error
from jobs.accounts.lookups import Lookup, Readers
from jobs.core.errors import UserError, one_line

_Result = TypeVar("_Result")

MOST_TOGETHER = 256
"""Pieces of work that share a transaction at most."""

_BUSY_S = 20.0
_PRAGMAS = ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "PRAGMA foreign_keys=ON")
# One write at a time, as in SQLite, so that rules such as "the last admin stays" hold for writers at the same moment.
_WRITERS_LOCK = 0x77_6E_6F_77
# As many as a server has threads for requests.
_CONNECTIONS = 40
_CONNECT_S = 5


class Database:
    """Accounts in a database; safe to use from many threads, and by several processes at once."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._writer = _Writer(engine) if engine.dialect.name == "sqlite" else None
        self._readers = Readers(engine)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection for queries. Raises `UnreachableError` where the database cannot be reached."""
        try:
            with self.engine.connect() as connection:
                yield connection
        except DBAPIError as error:
            raise as_user_error(error) from error
        except NoneFreeError as error:
            raise UnreachableError("the accounts are busy; try again") from error

    def first(self, lookup: Lookup, *values: Any) -> tuple[Any, ...] | None:
        """Return the first row of a query that every request makes, in a tenth of the time that `read` takes.

        Nothing is remembered: the row is the one that was committed last. Raises as `read` does.
        """
        return self._readers.first(lookup, values)

    def write(self, work: Callable[[Connection], _Result]) -> _Result:
        """Run `work` in a transaction and return its result when it is on disk; what it raises undoes it alone.

        Work is a function of the connection and nothing else: it may wait for others. Raises `DatabaseFullError` for a
        full disk and `UnreachableError` where the database cannot be reached.
        """
        try:
            if self._writer is not None:
                return self._writer.run(work)
            with self.engine.begin() as connection:
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _WRITERS_LOCK})
                return work(connection)
        except DBAPIError as error:
            raise as_user_error(error) from error
        except NoneFreeError as error:
            raise UnreachableError("the accounts are busy; try again") from error

    def close(self) -> None:
        """Finish what is queued and close all connections."""
        if self._writer is not None:
            self._writer.close()
        self._readers.close()
        self.engine.dispose()


def engine_of(url: str) -> Engine:
    """Return the engine of a database by its URL, `sqlite:///FILE` or `postgresql+psycopg://…`.

    Raises `UserError` for any other one, and where the driver is not installed.
    """
    if url.startswith("sqlite:///"):
        return _sqlite(Path(url.removeprefix("sqlite:///")))
    if not url.startswith("postgresql+psycopg://"):
        raise UserError(
            f"--database: expected postgresql+psycopg://USER@HOST/NAME, found {url.rpartition('@')[2] or url}"
        )
    try:
        return create_engine(
            url,
            pool_pre_ping=True,
            pool_size=8,
            max_overflow=_CONNECTIONS - 8,
            connect_args={"connect_timeout": _CONNECT_S},
            # Errors and logs have no values of statements: hashes are among them.
            hide_parameters=True,
        )
    except (ImportError, SQLAlchemyError) as error:
        hint = " (pip install 'winnow[postgresql]')" if isinstance(error, ImportError) else ""
        raise UserError(f"--database cannot be used: {one_line(error)}{hint}") from error


def _sqlite(file: Path) -> Engine:
    """Return the engine of a file, readable by its owner alone."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except OSError as error:
        raise UserError(f"accounts cannot be kept at {file}: {error.strerror or error}") from error
    engine = create_engine(
        # The path is no part of a URL here, so that it may hold any character.
        URL.create("sqlite", database=str(file)),
        connect_args={"check_same_thread": False, "timeout": _BUSY_S},
        pool_size=8,
        max_overflow=_CONNECTIONS - 8,
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def _connected(connection: sqlite3.Connection, _record: Any) -> None:
        # The driver begins transactions late, and reads outside of them; ours begin where SQLAlchemy says so.
        connection.isolation_level = None
        for pragma in _PRAGMAS:
            connection.execute(pragma)

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        # A reader that would write later could not, where another process wrote in between.
        immediate = connection.get_execution_options().get("winnow_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


class _Writer:
    """The one thread that writes; work that waits meanwhile shares a transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine.execution_options(winnow_writes=True)
        self._waiting: queue.SimpleQueue[tuple[Callable[[Connection], Any], Future[Any]] | None] = queue.SimpleQueue()
        self._one = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def run(self, work: Callable[[Connection], _Result]) -> _Result:
        result: Future[_Result] = Future()
        with self._one:
            if self._is_closed:
                raise UserError("the accounts are closed: the server is stopping")
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="accounts-writer", daemon=True)
                self._thread.start()
            self._waiting.put((work, result))
        return result.result()

    def close(self) -> None:
        with self._one:
            self._is_closed = True
            thread, self._thread = self._thread, None
            if thread is not None:
                self._waiting.put(None)
        if thread is not None:
            thread.join()

    def _work(self) -> None:
        is_last = False
        while not is_last:
            pieces = []
            first = self._waiting.get()
            is_last = first is None
            if first is not None:
                pieces.append(first)
            while not is_last and len(pieces) < MOST_TOGETHER:
                try:
                    more = self._waiting.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    is_last = True
                else:
                    pieces.append(more)
            if pieces:
                self._together(pieces)

    def _together(self, pieces: list[tuple[Callable[[Connection], Any], Future[Any]]]) -> None:
        """Run pieces of work in one transaction; nobody gets an answer before it is committed."""
        answers: list[tuple[Future[Any], Any, BaseException | None]] = []
        try:
            with self._engine.begin() as connection:
                for work, result in pieces:
                    savepoint = connection.begin_nested()
                    try:
                        answer = work(connection)
                        savepoint.commit()
                    except OperationalError:
                        # What the disk or the connection complains of concerns all of them; SQLite may have undone
                        # all of it already.
                        raise
                    except Exception as error:
                        savepoint.rollback()
                        answers.append((result, None, error))
                    else:
                        answers.append((result, answer, None))
        except BaseException as error:
            for _, result in pieces:
                result.set_exception(error)
            return
        for result, value, problem in answers:
            if problem is not None:
                result.set_exception(problem)
            else:
                result.set_result(value)
