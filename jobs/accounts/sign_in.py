"""Signing in with a name and a password: a try is counted, the password checked outside of transactions, then ended."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select

from jobs.accounts import audit, passwords, people, sessions, throttle
from jobs.accounts.audit import Actor
from jobs.accounts.errors import NotSignedInError
from jobs.accounts.tables import USERS
from jobs.core.errors import UserError

WRONG = "name or password: not right, or the account is disabled"
"""The answer to unknown names, wrong passwords and disabled accounts alike."""

_LONGEST = 100


@dataclass(frozen=True)
class Try:
    """A try to sign in; `user_id` and `stored` (a hash) are None where nobody of this name could."""

    name: str
    address: str
    user_id: str | None
    stored: str | None

    def is_right(self, password: str) -> bool:
        """Return whether the password is right; takes a third of a second, also for names that nobody has."""
        return passwords.is_right(password, self.stored) and self.user_id is not None


def begin(connection: Connection, name: str, address: str) -> Try:
    """Count a try and return it. Raises `TooManyTriesError` where it has to wait."""
    try:
        known = people.checked_name(name)
    except UserError:
        known = name[:_LONGEST]
    throttle.begin_try(connection, [_of_name(known), _of_address(address)])
    query = select(USERS.c.user_id, USERS.c.password_hash).where(
        USERS.c.name == known, USERS.c.disabled.is_(False), USERS.c.password_hash.is_not(None)
    )
    row = connection.execute(query).first()
    return Try(known, address, row[0] if row else None, row[1] if row else None)


def succeed(connection: Connection, attempt: Try, agent: str, rehashed: str | None = None) -> str:
    """End a try with the right password and return the token of a new session.

    Raises `NotSignedInError` where the account was disabled or its password changed meanwhile.
    """
    assert attempt.user_id is not None
    assert attempt.stored is not None
    same = (USERS.c.user_id == attempt.user_id) & (USERS.c.password_hash == attempt.stored)
    if connection.execute(select(USERS.c.user_id).where(same, USERS.c.disabled.is_(False))).first() is None:
        raise NotSignedInError(WRONG)
    throttle.end_try(connection, _of_name(attempt.name), _of_address(attempt.address))
    if rehashed is not None:
        people.rehash(connection, attempt.user_id, attempt.stored, rehashed)
    audit.record(connection, Actor(attempt.name, attempt.user_id, attempt.address), "session.begin")
    return sessions.begin(connection, attempt.user_id, attempt.address, agent)


def fail(connection: Connection, attempt: Try) -> None:
    """Note a try with a wrong password; the name is kept only where it is that of an account."""
    name = attempt.name if attempt.user_id is not None else "?"
    audit.record(connection, Actor(name, attempt.user_id, attempt.address), "session.refused")


def _of_name(name: str) -> str:
    return f"name:{name}"


def _of_address(address: str) -> str:
    return f"address:{address}"
