"""Sessions of browsers: a random token in a cookie, its hash here, looked up for every request.

Nothing is signed and nothing is cached, so that ending a session or disabling an account holds from the next request
on.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update

from jobs.accounts.tables import SESSIONS, USERS
from jobs.accounts.tokens import digest, new_id, new_secret

IDLE_S = 12 * 3600
"""A session that nobody used for so long is over."""

LONGEST_S = 30 * 24 * 3600
"""A session is over so long after it began."""

_SEEN_NS = 60 * 10**9
_LONGEST_AGENT = 300


@dataclass(frozen=True)
class Session:
    """A session and whose it is; times are nanoseconds since 1970."""

    session_id: str
    user_id: str
    user_name: str
    display_name: str
    is_admin: bool
    is_local: bool
    created_ns: int
    seen_ns: int
    address: str
    agent: str

    def is_due(self, now_ns: int) -> bool:
        """Return whether it should be noted that it is in use: once a minute at most."""
        return now_ns - self.seen_ns > _SEEN_NS or now_ns < self.seen_ns


def begin(connection: Connection, user_id: str, address: str, agent: str, is_local: bool = False) -> str:
    """Begin a session of somebody and return its token, which is stored nowhere; old ones of all people are deleted."""
    now = time.time_ns()
    over = (SESSIONS.c.seen_ns < now - IDLE_S * 10**9) | (SESSIONS.c.created_ns < now - LONGEST_S * 10**9)
    connection.execute(delete(SESSIONS).where(over))
    token = new_secret()
    connection.execute(
        insert(SESSIONS).values(
            session_id=new_id(),
            token_hash=digest(token),
            user_id=user_id,
            created_ns=now,
            seen_ns=now,
            address=address,
            agent=agent[:_LONGEST_AGENT],
            is_local=is_local,
        )
    )
    return token


_COLUMNS = (
    SESSIONS.c.session_id,
    SESSIONS.c.user_id,
    USERS.c.name.label("user_name"),
    USERS.c.display_name,
    USERS.c.is_admin,
    SESSIONS.c.is_local,
    SESSIONS.c.created_ns,
    SESSIONS.c.seen_ns,
    SESSIONS.c.address,
    SESSIONS.c.agent,
)
_LIVE = select(*_COLUMNS).join(USERS, USERS.c.user_id == SESSIONS.c.user_id).where(USERS.c.disabled.is_(False))


def find(connection: Connection, token: str) -> Session | None:
    """Return the session of a token; None where it is over, or its person is disabled."""
    now = time.time_ns()
    row = connection.execute(_LIVE.where(SESSIONS.c.token_hash == digest(token))).mappings().first()
    if row is None or now - row["seen_ns"] > IDLE_S * 10**9 or now - row["created_ns"] > LONGEST_S * 10**9:
        return None
    return Session(**row)


def of_person(connection: Connection, user_id: str) -> list[Session]:
    """Return the sessions of somebody, the one that was used last first."""
    query = _LIVE.where(SESSIONS.c.user_id == user_id).order_by(SESSIONS.c.seen_ns.desc(), SESSIONS.c.session_id)
    return [Session(**row) for row in connection.execute(query).mappings()]


def note_use(connection: Connection, session_id: str, address: str) -> None:
    """Note that a session is in use now, and from where."""
    values = {"seen_ns": time.time_ns(), "address": address}
    connection.execute(update(SESSIONS).where(SESSIONS.c.session_id == session_id).values(**values))


def end(connection: Connection, user_id: str, session_id: str) -> bool:
    """End a session of somebody; False where they have none of this id."""
    mine = (SESSIONS.c.session_id == session_id) & (SESSIONS.c.user_id == user_id)
    return connection.execute(delete(SESSIONS).where(mine)).rowcount > 0


def end_all(connection: Connection, user_id: str, keep: str | None = None) -> None:
    """End all sessions of somebody but the one with the id `keep`."""
    mine = SESSIONS.c.user_id == user_id
    if keep is not None:
        mine &= SESSIONS.c.session_id != keep
    connection.execute(delete(SESSIONS).where(mine))
