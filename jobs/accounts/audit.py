"""Who changed which rights, and who signed in: entries that are added and never changed."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select

from jobs.accounts.tables import AUDIT

MOST = 500
"""Entries that are read at once."""


@dataclass(frozen=True)
class Actor:
    """Who does something: a person, or the command line of this machine; `address` is where the request came from."""

    name: str
    user_id: str | None = None
    address: str = ""


def record(
    connection: Connection, actor: Actor, action: str, target: str = "", project: str | None = None, **detail: Any
) -> None:
    """Add an entry, within the transaction of what it is about. `detail` holds no secrets."""
    connection.execute(
        insert(AUDIT).values(
            at_ns=time.time_ns(),
            user_id=actor.user_id,
            actor=actor.name,
            action=action,
            target=target,
            project=project,
            detail=json.dumps(detail, sort_keys=True),
            address=actor.address,
        )
    )


def entries(
    connection: Connection,
    before: int | None = None,
    limit: int = 100,
    user: str | None = None,
    action: str | None = None,
) -> list[dict[str, Any]]:
    """Return the newest entries before a number, newest first, if asked of one person by name or of one action."""
    query = select(AUDIT).order_by(AUDIT.c.seq.desc()).limit(min(limit, MOST))
    if before is not None:
        query = query.where(AUDIT.c.seq < before)
    if user:
        query = query.where(AUDIT.c.actor == user)
    if action:
        query = query.where(AUDIT.c.action == action)
    return [{**row, "detail": json.loads(row["detail"])} for row in connection.execute(query).mappings()]
