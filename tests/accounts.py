"""Accounts for tests: a database of each kind, people with one password, and their sessions."""

from __future__ import annotations

from functools import cache

from jobs.accounts import passwords, people, sessions
from jobs.accounts.audit import Actor
from jobs.accounts.database import Database, engine_of
from jobs.accounts.migrate import bring_up_to_date
from jobs.accounts.people import Person

PASSWORD = "tulip-Harbour-93"
TESTS = Actor("tests")


@cache
def password_hash(password: str = PASSWORD) -> str:
    """Return the hash of a password, computed once for all tests."""
    return passwords.hashed(password)


def opened(url: str) -> Database:
    """Open a database and bring its tables up to date."""
    database = Database(engine_of(url))
    bring_up_to_date(database)
    return database


def add_person(database: Database, name: str, is_admin: bool = False, has_password: bool = True) -> Person:
    stored = password_hash() if has_password else None
    return database.write(lambda c: people.add(c, TESTS, name, stored, is_admin=is_admin))


def begin_session(database: Database, person: Person, is_local: bool = False) -> str:
    return database.write(lambda c: sessions.begin(c, person.user_id, "127.0.0.1", "tests", is_local))
