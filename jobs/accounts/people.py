"""People: accounts with a name and a password, some of them admins of the server."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from jobs.accounts import audit, names, sessions
from jobs.accounts.audit import Actor
from jobs.accounts.errors import AccountConflictError, UnknownAccountError
from jobs.accounts.names import LONGEST, checked_name, skeleton
from jobs.accounts.passwords import check_acceptable, hashed
from jobs.accounts.tables import INVITATIONS, KEYS, MEMBERS, SESSIONS, USERS
from jobs.accounts.tokens import new_id
from jobs.core.errors import UserError

LONGEST_NAME = LONGEST
LOCAL_NAME = "local"
"""The account that a one-time address of the terminal signs in: for people who can start the server."""


@dataclass(frozen=True)
class Person:
    """An account; times are nanoseconds since 1970. `has_password` is False for those who sign in by other means."""

    user_id: str
    name: str
    display_name: str
    is_admin: bool
    disabled: bool
    created_ns: int
    has_password: bool
    seen_ns: int | None = None


def add(
    connection: Connection,
    actor: Actor,
    name: str,
    password_hash: str | None,
    display_name: str = "",
    is_admin: bool = False,
    is_reserved: bool = False,
) -> Person:
    """Make an account. Raises `UserError` for a name that cannot be one, `AccountConflictError` for one in use.

    Names that are reserved are for the program itself, which says so by `is_reserved`.
    """
    name = checked_name(name)
    shown = _display_name(display_name) or name
    if names.is_reserved(name) and not is_reserved:
        raise UserError(f"name: {name} is reserved for accounts that winnow makes itself; expected another one")
    looks = skeleton(name)
    for other in connection.execute(select(USERS.c.name)).scalars():
        if other == name:
            raise AccountConflictError(f"name: {name} is in use")
        if skeleton(other) == looks:
            raise AccountConflictError(f"name: {name} looks like {other}, which is in use; choose another one")
    user_id = new_id()
    connection.execute(
        insert(USERS).values(
            user_id=user_id,
            name=name,
            display_name=shown,
            password_hash=password_hash,
            is_admin=is_admin,
            disabled=False,
            created_ns=time.time_ns(),
        )
    )
    audit.record(connection, actor, "user.add", name, is_admin=is_admin)
    return by_id(connection, user_id)


def new_password_hash(name: str, password: str) -> str:
    """Return the hash of a password for an account of this name. Raises `UserError` where it is not acceptable.

    Takes a third of a second, and so belongs before a transaction, not into it.
    """
    check_acceptable(password, checked_name(name))
    return hashed(password)


def _display_name(name: str) -> str:
    shown = " ".join(name.split())
    if len(shown) > LONGEST_NAME or any(unicodedata.category(c)[0] == "C" for c in shown):
        raise UserError(f"display name: expected at most {LONGEST_NAME} characters without control characters")
    return shown


def everyone(connection: Connection) -> list[Person]:
    """Return all accounts by name, with when each was last seen."""
    newest = select(SESSIONS.c.user_id, func.max(SESSIONS.c.seen_ns)).group_by(SESSIONS.c.user_id)
    seen: dict[str, int] = {row[0]: row[1] for row in connection.execute(newest)}
    rows = connection.execute(select(USERS).order_by(USERS.c.name)).mappings()
    return [_person(row, seen.get(row["user_id"])) for row in rows]


def by_id(connection: Connection, user_id: str) -> Person:
    """Return an account. Raises `UnknownAccountError` where there is none."""
    row = connection.execute(select(USERS).where(USERS.c.user_id == user_id)).mappings().first()
    if row is None:
        raise UnknownAccountError(f"there is no account {user_id[:LONGEST_NAME]!r}")
    return _person(row)


def by_name(connection: Connection, name: str) -> Person:
    """Return an account by its name. Raises `UnknownAccountError` where there is none."""
    row = connection.execute(select(USERS).where(USERS.c.name == checked_name(name))).mappings().first()
    if row is None:
        raise UnknownAccountError(f"there is no account {name[:LONGEST_NAME]!r}; `winnow user list` has all")
    return _person(row)


def anybody_has_a_password(connection: Connection) -> bool:
    """Return whether anybody can sign in with a password."""
    found = select(USERS.c.user_id).where(USERS.c.password_hash.is_not(None), USERS.c.disabled.is_(False))
    return connection.execute(found.limit(1)).first() is not None


def password_hash_of(connection: Connection, user_id: str) -> str | None:
    """Return the hash of somebody's password; None for none."""
    return connection.execute(select(USERS.c.password_hash).where(USERS.c.user_id == user_id)).scalar()


def set_password(
    connection: Connection, actor: Actor, user_id: str, password_hash: str, keep: str | None = None
) -> None:
    """Replace a password, and end all sessions of that person but the one that is kept."""
    connection.execute(update(USERS).where(USERS.c.user_id == user_id).values(password_hash=password_hash))
    sessions.end_all(connection, user_id, keep)
    audit.record(connection, actor, "user.password", by_id(connection, user_id).name)


def rehash(connection: Connection, user_id: str, before: str, after: str) -> None:
    """Replace the hash of the same password, unless the password was changed meanwhile."""
    same = (USERS.c.user_id == user_id) & (USERS.c.password_hash == before)
    connection.execute(update(USERS).where(same).values(password_hash=after))


def set_display_name(connection: Connection, user_id: str, name: str) -> None:
    """Change the name that others see. Raises `UserError` for one that is empty or too long."""
    shown = _display_name(name)
    if not shown:
        raise UserError("display name: expected at least one character")
    connection.execute(update(USERS).where(USERS.c.user_id == user_id).values(display_name=shown))


def change(
    connection: Connection, actor: Actor, user_id: str, disabled: bool | None = None, is_admin: bool | None = None
) -> Person:
    """Disable or enable an account, make it an admin or not.

    Disabling ends its sessions and revokes its keys at once; a change of rights ends its sessions. Invitations that it
    made as an admin end with its rights, so that nobody comes back through one that they kept. Raises
    `AccountConflictError` where no admin would be left, or no admin of a project.
    """
    before = by_id(connection, user_id)
    values: dict[str, Any] = {
        name: value
        for name, value in (("disabled", disabled), ("is_admin", is_admin))
        if value is not None and value != getattr(before, name)
    }
    if not values:
        return before
    connection.execute(update(USERS).where(USERS.c.user_id == user_id).values(**values))
    if before.is_admin and not before.disabled and not _admins(connection):
        raise AccountConflictError(f"{before.name} is the last admin of this server: make somebody else one first")
    if values.get("disabled"):
        _check_projects_keep_admins(connection, before)
        revoked = (KEYS.c.user_id == user_id) & KEYS.c.revoked_ns.is_(None)
        connection.execute(update(KEYS).where(revoked).values(revoked_ns=time.time_ns()))
    if values.get("disabled") or values.get("is_admin") is False:
        theirs = (INVITATIONS.c.user_id == user_id) | (INVITATIONS.c.created_by == before.name)
        connection.execute(delete(INVITATIONS).where(theirs, INVITATIONS.c.used_ns.is_(None)))
    sessions.end_all(connection, user_id)
    audit.record(connection, actor, "user.change", before.name, **values)
    return by_id(connection, user_id)


def _admins(connection: Connection) -> int:
    query = select(func.count()).select_from(USERS).where(USERS.c.is_admin.is_(True), USERS.c.disabled.is_(False))
    return connection.execute(query).scalar_one()


def _check_projects_keep_admins(connection: Connection, person: Person) -> None:
    """Raise `AccountConflictError` where somebody who is disabled was the last active admin of a project."""
    mine = select(MEMBERS.c.project).where(MEMBERS.c.user_id == person.user_id, MEMBERS.c.role == "admin")
    for project in connection.execute(mine).scalars().all():
        others = (
            select(func.count())
            .select_from(MEMBERS.join(USERS))
            .where(MEMBERS.c.project == project, MEMBERS.c.role == "admin", USERS.c.disabled.is_(False))
        )
        if not connection.execute(others).scalar_one():
            raise AccountConflictError(
                f"{person.name} is the last admin of project {project}: make somebody else one first"
            )


def _person(values: Mapping[Any, Any], seen_ns: int | None = None) -> Person:
    return Person(
        user_id=values["user_id"],
        name=values["name"],
        display_name=values["display_name"],
        is_admin=bool(values["is_admin"]),
        disabled=bool(values["disabled"]),
        created_ns=values["created_ns"],
        has_password=values["password_hash"] is not None,
        seen_ns=seen_ns,
    )
