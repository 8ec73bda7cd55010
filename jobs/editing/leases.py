"""Leases of frames: who works on which frame until when, so that no two people are sent to one."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from jobs.accounts.tables import USERS
from jobs.editing.errors import UnknownFrameError
from jobs.editing.events import Author
from jobs.editing.tables import LEASES, SKIPS

_NS_PER_MINUTE = 60_000_000_000

# Who is disabled works on nothing.
_ANY = select(LEASES, USERS.c.disabled).join(USERS, USERS.c.user_id == LEASES.c.user_id)
_HELD = _ANY.where(USERS.c.disabled.is_(False))

Place = tuple[str, int]
"""Stream and number of a frame."""


@dataclass(frozen=True)
class FrameLease:
    """A frame that is somebody's until a time, in ns since 1970."""

    lease_id: str
    stream_id: str
    frame_idx: int
    user_id: str
    user_name: str
    until_ns: int


def lease_ns(minutes: float) -> int:
    """Return how long a lease of some minutes is, in ns."""
    return int(minutes * _NS_PER_MINUTE)


def active(connection: Connection, project: str, now_ns: int | None = None) -> list[FrameLease]:
    """Return the leases of a project that have not ended."""
    now = time.time_ns() if now_ns is None else now_ns
    query = _HELD.where(LEASES.c.project == project, LEASES.c.until_ns > now)
    return [_lease(row) for row in connection.execute(query)]


def of_frame(connection: Connection, project: str, place: Place) -> FrameLease | None:
    """Return the lease of a frame; None where there is none, or it has ended."""
    row = connection.execute(_HELD.where(*_is_of(project, place))).first()
    return None if row is None or row.until_ns <= time.time_ns() else _lease(row)


def take(
    connection: Connection, project: str, author: Author, candidates: Iterable[Place], n: int, length_ns: int
) -> list[FrameLease]:
    """FrameLease the first `n` of some frames that nobody else has, and return the leases.

    What somebody has already is leased to them once more, and for longer.
    """
    now = time.time_ns()
    taken: list[FrameLease] = []
    for place in candidates:
        if len(taken) >= n:
            break
        before = connection.execute(_ANY.where(*_is_of(project, place))).first()
        is_held = before is not None and before.until_ns > now and not before.disabled
        if before is not None and is_held and before.user_id != author.user_id:
            continue
        lease_id = before.lease_id if before is not None and is_held else secrets.token_urlsafe(12)
        fresh = FrameLease(lease_id, *place, author.user_id, author.name, now + length_ns)
        values = {
            "lease_id": fresh.lease_id,
            "user_id": fresh.user_id,
            "user_name": fresh.user_name,
            "until_ns": fresh.until_ns,
        }
        if before is None:
            key = {"project": project, "stream_id": place[0], "frame_idx": place[1]}
            connection.execute(insert(LEASES).values({**key, **values}))
        else:
            connection.execute(update(LEASES).where(*_is_of(project, place)).values(values))
        taken.append(fresh)
    return taken


def lengthen(connection: Connection, project: str, lease_id: str, user_id: str, length_ns: int) -> FrameLease:
    """Lengthen somebody's lease. Raises `UnknownFrameError` for one that has ended, or is another's."""
    row = _own(connection, project, lease_id, user_id)
    until = time.time_ns() + length_ns
    connection.execute(update(LEASES).where(LEASES.c.lease_id == lease_id).values(until_ns=until))
    return FrameLease(row.lease_id, row.stream_id, row.frame_idx, row.user_id, row.user_name, until)


def release(connection: Connection, project: str, lease_id: str, user_id: str, is_skipped: bool = False) -> None:
    """Give a lease back; a skipped frame comes last to who skipped it. Raises as `lengthen` does."""
    row = _own(connection, project, lease_id, user_id)
    connection.execute(delete(LEASES).where(LEASES.c.lease_id == lease_id))
    if is_skipped:
        key = {"project": project, "user_id": user_id, "stream_id": row.stream_id, "frame_idx": row.frame_idx}
        connection.execute(delete(SKIPS).where(*(SKIPS.c[name] == value for name, value in key.items())))
        connection.execute(insert(SKIPS).values({**key, "at_ns": time.time_ns()}))


def skipped(connection: Connection, project: str, user_id: str) -> list[Place]:
    """Return the frames that somebody skipped, the earliest first."""
    mine = (SKIPS.c.project == project) & (SKIPS.c.user_id == user_id)
    return [(row.stream_id, row.frame_idx) for row in connection.execute(select(SKIPS).where(mine).order_by("at_ns"))]


def _own(connection: Connection, project: str, lease_id: str, user_id: str) -> Any:
    mine = (LEASES.c.project == project) & (LEASES.c.lease_id == lease_id) & (LEASES.c.user_id == user_id)
    row = connection.execute(select(LEASES).where(mine)).first()
    if row is None or row.until_ns <= time.time_ns():
        raise UnknownFrameError("this lease has ended: others may have the frame; your edits are taken all the same")
    return row


def _is_of(project: str, place: Place) -> tuple[Any, ...]:
    return LEASES.c.project == project, LEASES.c.stream_id == place[0], LEASES.c.frame_idx == place[1]


def _lease(row: Any) -> FrameLease:
    return FrameLease(row.lease_id, row.stream_id, row.frame_idx, row.user_id, row.user_name, row.until_ns)
