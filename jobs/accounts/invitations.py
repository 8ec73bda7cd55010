"""Tokens that are used once: invitations, new passwords, and the address that the terminal signs in with."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, delete, insert, select, update

from jobs.accounts import audit, members, people
from jobs.accounts.audit import Actor
from jobs.accounts.errors import NotSignedInError, UnknownAccountError
from jobs.accounts.people import Person
from jobs.accounts.roles import ROLES
from jobs.accounts.tables import INVITATIONS, USERS
from jobs.accounts.tokens import digest, new_id, new_secret
from jobs.core.errors import UserError

Kind = Literal["invitation", "reset", "enter"]

DAYS = 7
MOST_DAYS = 90
ENTER_S = 60
"""How long the one-time address of the terminal holds."""

_SECOND_NS = 10**9
_DAY_S = 24 * 3600
_OVER = "this address was used, revoked, or is too old; ask for a new one"


@dataclass(frozen=True)
class Invitation:
    """What a token is for; times are nanoseconds since 1970."""

    invitation_id: str
    kind: Kind
    user_id: str | None
    is_admin: bool
    project: str | None
    role: str | None
    created_by: str
    created_ns: int
    expires_ns: int
    used_ns: int | None


def invite(
    connection: Connection,
    actor: Actor,
    project: str | None = None,
    role: str | None = None,
    is_admin: bool = False,
    days: int = DAYS,
) -> tuple[Invitation, str]:
    """Make an invitation and return it with its token: into a project with a role, as an admin, or with no rights yet.

    Raises `UserError` with everything that is wrong.
    """
    problems = []
    if (project is None) != (role is None):
        problems.append("project and role: expected both or none of them")
    if role is not None and role not in ROLES:
        problems.append(f"role: expected one of {', '.join(ROLES)}, found {role[:40]!r}")
    if not 1 <= days <= MOST_DAYS:
        problems.append(f"days: expected 1 to {MOST_DAYS}, found {days:,}")
    if problems:
        raise UserError(problems)
    made = _make(connection, actor, "invitation", days * _DAY_S, project=project, role=role, is_admin=is_admin)
    audit.record(connection, actor, "invitation.add", made[0].invitation_id, project, role=role, is_admin=is_admin)
    return made


def reset(connection: Connection, actor: Actor, user_id: str) -> tuple[Invitation, str]:
    """Make a token with which somebody sets a new password within a day; earlier ones of theirs no longer hold."""
    person = people.by_id(connection, user_id)
    mine = (INVITATIONS.c.kind == "reset") & (INVITATIONS.c.user_id == user_id) & INVITATIONS.c.used_ns.is_(None)
    connection.execute(delete(INVITATIONS).where(mine))
    made = _make(connection, actor, "reset", _DAY_S, user_id=user_id)
    audit.record(connection, actor, "user.reset", person.name)
    return made


def entrance(connection: Connection, actor: Actor) -> str:
    """Return a token that signs in the account `local`, an admin, for 60 seconds and once; makes the account if needed.

    A program that calls this can read the file of the accounts, and so may do anything.
    """
    row = connection.execute(select(USERS.c.user_id).where(USERS.c.name == people.LOCAL_NAME)).first()
    if row:
        user_id = row[0]
    else:
        user_id = people.add(connection, actor, people.LOCAL_NAME, None, "This computer", True, True).user_id
    over = (INVITATIONS.c.kind == "enter") & (INVITATIONS.c.expires_ns < time.time_ns())
    connection.execute(delete(INVITATIONS).where(over))
    return _make(connection, actor, "enter", ENTER_S, user_id=user_id)[1]


def _make(
    connection: Connection, actor: Actor, kind: Kind, lasts_s: int, is_admin: bool = False, **values: Any
) -> tuple[Invitation, str]:
    now = time.time_ns()
    token = new_secret()
    row = {
        "invitation_id": new_id(),
        "kind": kind,
        "user_id": None,
        "is_admin": is_admin,
        "project": None,
        "role": None,
        "created_by": actor.name,
        "created_ns": now,
        "expires_ns": now + lasts_s * _SECOND_NS,
        "used_ns": None,
        **values,
    }
    connection.execute(insert(INVITATIONS).values(token_hash=digest(token), **row))
    return Invitation(**row), token


_COLUMNS = [column for column in INVITATIONS.c if column.name != "token_hash"]


def find(connection: Connection, token: str, *kinds: Kind) -> Invitation:
    """Return what a token is for. Raises `NotSignedInError` where it is of no such kind, was used, or is too old."""
    query = select(*_COLUMNS).where(INVITATIONS.c.token_hash == digest(token), INVITATIONS.c.kind.in_(kinds))
    row = connection.execute(query).mappings().first()
    if row is None or row["used_ns"] is not None or row["expires_ns"] <= time.time_ns():
        raise NotSignedInError(_OVER)
    return Invitation(**{**row, "is_admin": bool(row["is_admin"])})


def use(connection: Connection, token: str, *kinds: Kind) -> Invitation:
    """Use up a token and return what it is for; of two that use it at once, one does. Raises as `find` does."""
    found = find(connection, token, *kinds)
    unused = (INVITATIONS.c.invitation_id == found.invitation_id) & INVITATIONS.c.used_ns.is_(None)
    if not connection.execute(update(INVITATIONS).where(unused).values(used_ns=time.time_ns())).rowcount:
        raise NotSignedInError(_OVER)
    return found


def accept(
    connection: Connection, token: str, name: str, password_hash: str | None, display_name: str, address: str
) -> Person:
    """Make the account that somebody was invited to, or set the new password that they were allowed to.

    Without a password, who was invited signs in by other means; a token for a new password is none for that.
    """
    kinds: tuple[Kind, ...] = ("invitation",) if password_hash is None else ("invitation", "reset")
    found = use(connection, token, *kinds)
    if found.kind == "reset":
        assert found.user_id is not None
        assert password_hash is not None
        person = people.by_id(connection, found.user_id)
        if person.disabled:
            raise NotSignedInError(_OVER)
        people.set_password(connection, Actor(person.name, person.user_id, address), person.user_id, password_hash)
        return person
    inviter = Actor(found.created_by, None, address)
    person = people.add(connection, inviter, name, password_hash, display_name, found.is_admin)
    if found.project is not None and found.role is not None:
        members.put(connection, inviter, found.project, person.user_id, found.role)
    audit.record(connection, Actor(person.name, person.user_id, address), "invitation.accept", found.invitation_id)
    return person


def pending(connection: Connection) -> list[Invitation]:
    """Return all invitations, the newest first; not those for new passwords and of the terminal."""
    query = select(*_COLUMNS).where(INVITATIONS.c.kind == "invitation").order_by(INVITATIONS.c.created_ns.desc())
    return [Invitation(**{**row, "is_admin": bool(row["is_admin"])}) for row in connection.execute(query).mappings()]


def revoke(connection: Connection, actor: Actor, invitation_id: str) -> None:
    """Delete an invitation that nobody used. Raises `UnknownAccountError` where there is none."""
    unused = (
        (INVITATIONS.c.invitation_id == invitation_id)
        & (INVITATIONS.c.kind == "invitation")
        & INVITATIONS.c.used_ns.is_(None)
    )
    if not connection.execute(delete(INVITATIONS).where(unused)).rowcount:
        raise UnknownAccountError(f"there is no open invitation {invitation_id[:40]!r}")
    audit.record(connection, actor, "invitation.revoke", invitation_id)
