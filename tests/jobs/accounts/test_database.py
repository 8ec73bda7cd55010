"""Writes that share a transaction, disks that are full, look-ups, and databases that go away."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection, bindparam, insert, select, text

from jobs.accounts import audit, people, sessions
from jobs.accounts.database import Database
from jobs.accounts.errors import AccountConflictError, DatabaseFullError, UnreachableError
from jobs.accounts.lookups import Lookup
from jobs.accounts.tables import THROTTLE, USERS
from jobs.core.errors import UserError
from tests.accounts import TESTS, add_person, begin_session, opened


def _count(connection: Connection, bucket: str) -> str:
    connection.execute(insert(THROTTLE).values(bucket=bucket, failures=1, last_ns=1))
    return bucket


def _buckets(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.execute(select(THROTTLE.c.bucket).order_by(THROTTLE.c.bucket)).scalars())


def test_what_fails_undoes_itself_and_nothing_that_shares_its_transaction(database: Database) -> None:
    begun, release = threading.Event(), threading.Event()

    def hold(connection: Connection) -> str:
        begun.set()
        release.wait()
        return _count(connection, "held")

    def fail(connection: Connection) -> None:
        _count(connection, "failed")
        raise UserError("no")

    def conflict(connection: Connection) -> None:
        _count(connection, "conflicted")
        _count(connection, "held")

    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(database.write, hold)
        begun.wait()
        # All of these wait for the first, so that on SQLite they share the next transaction.
        good = [pool.submit(database.write, lambda c, n=n: _count(c, f"good {n}")) for n in range(3)]
        bad = pool.submit(database.write, fail)
        clash = pool.submit(database.write, conflict)
        release.set()
        assert first.result() == "held"
        assert [done.result() for done in good] == ["good 0", "good 1", "good 2"]
        with pytest.raises(UserError, match=r"^no$"):
            bad.result()
        with pytest.raises(AccountConflictError):
            clash.result()
    assert _buckets(database) == ["good 0", "good 1", "good 2", "held"]


def test_writes_at_once_share_a_flush(tmp_path: Path) -> None:
    database = opened(f"sqlite:///{tmp_path / 'accounts.sqlite'}")
    begun, release = threading.Event(), threading.Event()

    def hold(connection: Connection) -> None:
        begun.set()
        release.wait()

    with ThreadPoolExecutor(101) as pool:
        first = pool.submit(database.write, hold)
        begun.wait()
        waiting = [
            pool.submit(database.write, lambda c, n=n: (_count(c, str(n)), id(c.get_transaction()))[1])
            for n in range(100)
        ]
        assert database._writer is not None
        while database._writer._waiting.qsize() < 100:
            pass
        release.set()
        first.result()
        assert len({done.result() for done in waiting}) == 1
    assert len(_buckets(database)) == 100
    database.close()


def test_nothing_is_written_after_the_end_and_all_that_waits_is(tmp_path: Path) -> None:
    database = opened(f"sqlite:///{tmp_path / 'accounts.sqlite'}")
    with ThreadPoolExecutor(20) as pool:
        waiting = [pool.submit(database.write, lambda c, n=n: _count(c, str(n))) for n in range(20)]
        assert sorted(done.result() for done in waiting) == sorted(str(n) for n in range(20))
    database.close()
    with pytest.raises(UserError, match="the server is stopping"):
        database.write(lambda c: _count(c, "late"))


def _count_on_full_disk(connection: Connection) -> None:
    """Write more than the database may grow by, as on a full disk."""
    pages = connection.execute(text("PRAGMA page_count")).scalar_one()
    connection.execute(text(f"PRAGMA max_page_count = {pages}"))
    try:
        _count(connection, "x" * 1_000_000)
    finally:
        connection.exec_driver_sql("PRAGMA max_page_count = 4294967294")


def test_on_a_full_disk_writes_are_refused_and_reads_continue(tmp_path: Path) -> None:
    database = opened(f"sqlite:///{tmp_path / 'accounts.sqlite'}")
    jane = add_person(database, "jane")
    token = begin_session(database, jane)
    for _ in range(3):
        with pytest.raises(DatabaseFullError) as full:
            database.write(_count_on_full_disk)
        assert full.value.problems == [
            "the disk of the accounts is full; nothing was changed. Free some space and try again"
        ]
        assert full.value.exit_code == 1
        found = sessions.look_up(database, token)
        assert found is not None
        assert found.user_name == "jane"
        assert _buckets(database) == []
    database.write(lambda c: _count(c, "x" * 1_000_000))
    assert len(_buckets(database)) == 1
    database.close()


def test_look_ups_see_what_was_committed_last(database: Database) -> None:
    lookup = Lookup(select(USERS.c.display_name, USERS.c.is_admin).where(USERS.c.name == bindparam("p0")))
    assert database.first(lookup, "jane") is None
    jane = add_person(database, "jane")
    assert database.first(lookup, "jane") == ("jane", False)
    for n in range(50):
        database.write(partial(people.set_display_name, user_id=jane.user_id, name=f"Jane {n}"))
        found = database.first(lookup, "jane")
        assert found is not None
        assert found[0] == f"Jane {n}"


def test_look_ups_from_many_threads_get_their_own_rows(database: Database) -> None:
    lookup = Lookup(select(USERS.c.user_id).where(USERS.c.name == bindparam("p0")))
    known = {f"person{n}x": add_person(database, f"person{n}x", has_password=False).user_id for n in range(8)}
    with ThreadPoolExecutor(16) as pool:
        names = [name for name in known for _ in range(50)]
        found = list(pool.map(lambda name: database.first(lookup, name), names))
    assert found == [(known[name],) for name in names]


def test_a_look_up_with_a_null_character_is_no_failure_of_the_server(database: Database) -> None:
    lookup = Lookup(select(USERS.c.user_id).where(USERS.c.name == bindparam("p0")))
    if database.engine.dialect.name == "sqlite":
        assert database.first(lookup, "ja\0ne") is None
    else:
        with pytest.raises(UserError, match="a value cannot be stored"):
            database.first(lookup, "ja\0ne")
    add_person(database, "jane")
    assert database.first(lookup, "jane") is not None


@pytest.mark.process
def test_look_ups_survive_the_end_of_their_connections(postgresql: str) -> None:
    from tests.postgresql import new_database

    database = opened(new_database(postgresql))
    token = begin_session(database, add_person(database, "jane"))
    assert sessions.look_up(database, token) is not None
    end_all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> "
    with database.read() as connection:
        connection.execute(text(f"{end_all} pg_backend_pid()"))
    assert sessions.look_up(database, token) is not None
    add_person(database, "maria")
    database.close()


def test_a_database_that_is_not_there_is_one_line_without_its_password() -> None:
    with pytest.raises(UnreachableError) as refused:
        opened("postgresql+psycopg://winnow:hidden-word@127.0.0.1:1/winnow")
    assert len(refused.value.problems) == 1
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET actor = 'somebody else'",
        "UPDATE audit SET actor = 'somebody else' WHERE seq = -1 OR seq = 1",
        "DELETE FROM audit",
        "DELETE FROM audit WHERE seq = 1",
        "INSERT INTO audit SELECT * FROM audit WHERE seq = 1 ON CONFLICT (seq) DO UPDATE SET actor = 'somebody else'",
    ],
)
def test_the_audit_cannot_be_changed(database: Database, statement: str) -> None:
    add_person(database, "jane")
    assert_refused(database, statement)


def test_the_audit_cannot_be_replaced_or_emptied(database: Database) -> None:
    add_person(database, "jane")
    if database.engine.dialect.name == "sqlite":
        columns = "seq, at_ns, user_id, 'nobody', action, target, project, detail, address"
        assert_refused(database, f"INSERT OR REPLACE INTO audit SELECT {columns} FROM audit WHERE seq = 1")
    else:
        assert_refused(database, "TRUNCATE audit")


def assert_refused(database: Database, statement: str) -> None:
    with database.read() as connection:
        before = audit.entries(connection)
    assert [entry["action"] for entry in before] == ["user.add"]
    with pytest.raises(UserError):
        database.write(lambda c: c.execute(text(statement)))
    with database.read() as connection:
        assert audit.entries(connection) == before


def test_what_fails_leaves_no_entry_in_the_audit(database: Database) -> None:
    def fail(connection: Connection) -> None:
        people.add(connection, TESTS, "maria", None)
        raise UserError("no")

    with pytest.raises(UserError):
        database.write(fail)
    with database.read() as connection:
        assert audit.entries(connection) == []
        assert people.everyone(connection) == []
