"""Identities of an OpenID provider: who signs in through one, by issuer and subject alone.

A subject is the provider's own name of a person and never changes. E-mail addresses are never compared: they may be
unverified, and are given to other people later. An account gets an identity from somebody who is signed in to it, or
together with the account itself.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select

from jobs.accounts import audit, invitations, people
from jobs.accounts.audit import Actor
from jobs.accounts.errors import AccountConflictError, NotSignedInError, UnknownAccountError
from jobs.accounts.people import Person
from jobs.accounts.sign_in import WRONG
from jobs.accounts.tables import IDENTITIES
from jobs.accounts.tokens import new_id
from jobs.core.errors import UserError

LONGEST_SUBJECT = 255
"""Characters of a subject (OpenID Connect Core 1.0, section 2)."""

_TAIL = 4


@dataclass(frozen=True)
class LinkedIdentity:
    """What a provider calls somebody; `created_ns` (since 1970) is when it was linked."""

    identity_id: str
    issuer: str
    subject: str
    user_id: str
    created_ns: int


def find(connection: Connection, issuer: str, subject: str) -> LinkedIdentity | None:
    """Return an identity that is linked to an account; None where it is to none."""
    same = (IDENTITIES.c.issuer == issuer) & (IDENTITIES.c.subject == subject)
    row = connection.execute(select(IDENTITIES).where(same)).mappings().first()
    return None if row is None else LinkedIdentity(**row)


def of_person(connection: Connection, user_id: str) -> list[LinkedIdentity]:
    """Return the identities of somebody, oldest first."""
    query = select(IDENTITIES).where(IDENTITIES.c.user_id == user_id).order_by(IDENTITIES.c.created_ns)
    return [LinkedIdentity(**row) for row in connection.execute(query).mappings()]


def link(connection: Connection, actor: Actor, user_id: str, issuer: str, subject: str) -> None:
    """Let somebody sign in by an identity. Raises `AccountConflictError` where another account has it."""
    person = people.by_id(connection, user_id)
    found = find(connection, issuer, subject)
    if found is not None:
        if found.user_id == user_id:
            return
        raise AccountConflictError("this identity belongs to another account here; sign in with it instead")
    connection.execute(
        insert(IDENTITIES).values(
            identity_id=new_id(), issuer=issuer, subject=subject, user_id=user_id, created_ns=time.time_ns()
        )
    )
    audit.record(connection, actor, "identity.link", person.name, issuer=issuer)


def unlink(connection: Connection, actor: Actor, user_id: str, identity_id: str) -> None:
    """Let somebody no longer sign in by an identity.

    Raises `UnknownAccountError` where they have none of this id, `AccountConflictError` where nothing else would sign
    them in.
    """
    mine = (IDENTITIES.c.user_id == user_id) & (IDENTITIES.c.identity_id == identity_id)
    if not connection.execute(delete(IDENTITIES).where(mine)).rowcount:
        raise UnknownAccountError("there is no such identity of yours")
    person = people.by_id(connection, user_id)
    left = select(func.count()).select_from(IDENTITIES).where(IDENTITIES.c.user_id == user_id)
    if not person.has_password and not connection.execute(left).scalar_one():
        raise AccountConflictError(
            "this is the only way in to your account: have an admin reset your password first, and set a new one"
        )
    audit.record(connection, actor, "identity.unlink", person.name)


def enter(connection: Connection, issuer: str, subject: str, address: str) -> Person | None:
    """Return whose identity this is, who signs in by it now; None where it is nobody's.

    Raises `NotSignedInError` for an account that is disabled.
    """
    found = find(connection, issuer, subject)
    if found is None:
        return None
    person = people.by_id(connection, found.user_id)
    if person.disabled:
        raise NotSignedInError(WRONG)
    audit.record(connection, Actor(person.name, person.user_id, address), "session.begin", by=issuer)
    return person


def accept(
    connection: Connection, token: str, name: str, display_name: str, issuer: str, subject: str, address: str
) -> Person:
    """Make the account that somebody was invited to, without a password.

    Raises `NotSignedInError` for an invitation that does not hold, `AccountConflictError` where the identity or the
    name is that of another account.
    """
    _refuse_known(connection, issuer, subject)
    person = invitations.accept(connection, token, name, None, display_name, address)
    link(connection, Actor(person.name, person.user_id, address), person.user_id, issuer, subject)
    return person


def add_person(
    connection: Connection, wanted: str, display_name: str, issuer: str, subject: str, address: str
) -> Person:
    """Make an account without any rights for somebody whom the provider vouches for, named as they like if possible.

    Where that name is in use, looks like another one, or cannot be one, it gets an ending or is made up: an account is
    never found by its name here.
    """
    _refuse_known(connection, issuer, subject)
    made_up = new_id()
    actor = Actor("?", None, address)
    shown = _shown(display_name)
    person = None
    for name in (wanted, f"{wanted}-{made_up[:_TAIL]}"):
        with suppress(UserError):
            person = people.add(connection, actor, name, None, shown)
            break
    if person is None:
        person = people.add(connection, actor, f"person-{made_up}", None, shown)
    own = Actor(person.name, person.user_id, address)
    link(connection, own, person.user_id, issuer, subject)
    audit.record(connection, own, "session.begin", by=issuer)
    return person


def _refuse_known(connection: Connection, issuer: str, subject: str) -> None:
    if find(connection, issuer, subject) is not None:
        raise AccountConflictError("this identity has an account here already: sign in with it")


def _shown(display_name: str) -> str:
    """Return a name that others may see, without what cannot be shown."""
    return "".join(c for c in display_name if c.isprintable())[: people.LONGEST_NAME]
