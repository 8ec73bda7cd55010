"""Signing in with a name and a password: a try is counted, the password checked outside of transactions, then ended."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, select

from jobs.accounts import audit, passwords, people, sessions, throttle
from jobs.accounts.audit import Actor
from jobs.accounts.errors import NotSignedInError
from jobs.accounts.names import checked_name
from jobs.accounts.tables import USERS
from jobs.accounts.tokens import digest
from jobs.core.errors import UserError

WRONG = "name or password: not right, or the account is disabled"
"""The answer to unknown names, wrong passwords and disabled accounts alike."""

_LONGEST = 100
_DIGITS = 32
_IPV6_BITS = 64

_BY_NAME = select(USERS.c.user_id, USERS.c.password_hash).where(
    USERS.c.name == bindparam("name"), USERS.c.disabled.is_(False), USERS.c.password_hash.is_not(None)
)


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
        known = checked_name(name)
        row = connection.execute(_BY_NAME, {"name": known}).first()
    except UserError:
        known, row = name, None
    throttle.begin_try(connection, [_of_name(known), _of_address(address)])
    return Try(known, address, row[0] if row else None, row[1] if row else None)


def succeed(connection: Connection, attempt: Try, agent: str, rehashed: str | None = None) -> str:
    """End a try with the right password and return the token of a new session.

    Raises `NotSignedInError` where the account was disabled or its password changed meanwhile.
    """
    assert attempt.user_id is not None
    assert attempt.stored is not None
    confirm(connection, attempt)
    if rehashed is not None:
        people.rehash(connection, attempt.user_id, attempt.stored, rehashed)
    audit.record(connection, Actor(attempt.name, attempt.user_id, attempt.address), "session.begin")
    return sessions.begin(connection, attempt.user_id, attempt.address, agent)


def fail(connection: Connection, attempt: Try) -> None:
    """Note a try with a wrong password; the name is kept only where it is that of an account."""
    name = attempt.name if attempt.user_id is not None else "?"
    audit.record(connection, Actor(name, attempt.user_id, attempt.address), "session.refused")


def give_up(connection: Connection, attempt: Try) -> None:
    """Take back that a try was counted, where its password was never checked."""
    throttle.take_back(connection, [_of_name(attempt.name), _of_address(attempt.address)])


def begin_by_address(connection: Connection, address: str) -> None:
    """Count a try by a provider, of which no name is known yet. Raises `TooManyTriesError` where it has to wait."""
    throttle.begin_try(connection, [_of_address(address)])


def end_by_address(connection: Connection, address: str) -> None:
    """Take back that a try by a provider was counted: the provider knows who it was, or said nothing."""
    throttle.take_back(connection, [_of_address(address)])


def note_refusal(connection: Connection, address: str) -> None:
    """Note a try that the provider refused; nothing is known of who it was."""
    audit.record(connection, Actor("?", None, address), "session.refused")


def confirm(connection: Connection, attempt: Try) -> None:
    """End a try of somebody who is signed in already and gave the right password once more.

    Raises `NotSignedInError` where the account was disabled or its password changed meanwhile.
    """
    same = (USERS.c.user_id == attempt.user_id) & (USERS.c.password_hash == attempt.stored)
    if connection.execute(select(USERS.c.user_id).where(same, USERS.c.disabled.is_(False))).first() is None:
        raise NotSignedInError(WRONG)
    throttle.end_try(connection, _of_name(attempt.name), _of_address(attempt.address))


def _of_name(name: str) -> str:
    # People type passwords into the field for names: what they typed is not stored.
    return f"name:{digest(name)[:_DIGITS]}"


def _of_address(address: str) -> str:
    return f"address:{network_of(address)}"


def network_of(address: str) -> str:
    """Return what a client of an address can choose addresses within: an IPv6 /64, or the IPv4 address itself."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address[:_LONGEST]
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((found.packed, _IPV6_BITS), strict=False))
    return str(found)
