"""Accounts to try a server with, one of each role: for a server that this machine alone reaches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, select

from jobs.accounts import members, people
from jobs.accounts.audit import Actor
from jobs.accounts.names import DEMO
from jobs.accounts.roles import ROLES, Role
from jobs.accounts.tables import USERS


def make(connection: Connection, actor: Actor, projects: Sequence[str], hashes: Mapping[Role, str]) -> dict[Role, str]:
    """Make an account of each role, a member of each project, and return their names; the admin is one of the server.

    Those that are there already get these passwords, and are enabled again.
    """
    names: dict[Role, str] = {}
    for role in ROLES:
        name = names[role] = f"{DEMO}{role}"
        found = connection.execute(select(USERS.c.user_id).where(USERS.c.name == name)).scalar()
        is_admin = role == "admin"
        if found is None:
            found = people.add(connection, actor, name, hashes[role], is_admin=is_admin, is_reserved=True).user_id
        else:
            people.set_password(connection, actor, found, hashes[role])
            people.change(connection, actor, found, disabled=False, is_admin=is_admin)
        for project in projects:
            members.put(connection, actor, project, found, role)
    return names


def enabled(connection: Connection) -> list[str]:
    """Return the names of those that can sign in."""
    query = select(USERS.c.name).where(USERS.c.name.startswith(DEMO, autoescape=True), USERS.c.disabled.is_(False))
    return sorted(connection.execute(query).scalars())
