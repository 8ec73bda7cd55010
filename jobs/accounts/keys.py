"""Keys of programs, `wnw_ID_SECRET`: each with scopes, an end, and never more rights than its owner has."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, insert, select, update

from jobs.accounts import audit
from jobs.accounts.audit import Actor
from jobs.accounts.database import Database
from jobs.accounts.errors import UnknownAccountError
from jobs.accounts.lookups import Lookup
from jobs.accounts.roles import SCOPES
from jobs.accounts.tables import KEYS, USERS
from jobs.accounts.tokens import digest, matches, new_secret
from jobs.core.errors import UserError

PREFIX = "wnw_"
DAYS = 90
MOST_DAYS = 3660
LONGEST_NAME = 100

_DAY_NS = 24 * 3600 * 10**9
_ID_LENGTH = 8
_SEEN_NS = 60 * 10**9


@dataclass(frozen=True)
class Key:
    """A key and whose it is; times are nanoseconds since 1970. `project` is None for all projects of its owner."""

    key_id: str
    user_id: str
    owner: str
    owner_is_admin: bool
    name: str
    scopes: tuple[str, ...]
    project: str | None
    created_ns: int
    expires_ns: int
    used_ns: int | None

    def is_due(self, now_ns: int) -> bool:
        """Return whether it should be noted that it is in use: once a minute at most."""
        return self.used_ns is None or now_ns - self.used_ns > _SEEN_NS


def add(
    connection: Connection,
    actor: Actor,
    user_id: str,
    name: str,
    scopes: Sequence[str],
    project: str | None = None,
    days: int = DAYS,
) -> tuple[Key, str]:
    """Make a key of somebody and return it with its text, which is stored nowhere.

    Raises `UserError` with everything that is wrong with its name, scopes and days.
    """
    problems = []
    if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        problems.append(f"name: expected 1 to {LONGEST_NAME} characters that say what the key is for")
    if unknown := sorted(set(scopes) - set(SCOPES)):
        problems.append(f"scopes: {', '.join(unknown)} unknown; expected some of {', '.join(SCOPES)}")
    if not scopes:
        problems.append(f"scopes: expected at least one of {', '.join(SCOPES)}")
    if not 1 <= days <= MOST_DAYS:
        problems.append(f"days: expected 1 to {MOST_DAYS:,}, found {days:,}")
    if problems:
        raise UserError(problems)
    now = time.time_ns()
    secret = new_secret()
    key_id = digest(new_secret())[:_ID_LENGTH]
    connection.execute(
        insert(KEYS).values(
            key_id=key_id,
            secret_hash=digest(secret),
            user_id=user_id,
            name=name.strip(),
            scopes=" ".join(scope for scope in SCOPES if scope in scopes),
            project=project,
            created_ns=now,
            expires_ns=now + days * _DAY_NS,
        )
    )
    audit.record(connection, actor, "key.add", key_id, project, scopes=sorted(set(scopes)), days=days)
    return _by_id(connection, key_id), f"{PREFIX}{key_id}_{secret}"


_COLUMNS = (
    KEYS.c.key_id,
    KEYS.c.user_id,
    USERS.c.name.label("owner"),
    USERS.c.is_admin.label("owner_is_admin"),
    KEYS.c.name,
    KEYS.c.scopes,
    KEYS.c.project,
    KEYS.c.created_ns,
    KEYS.c.expires_ns,
    KEYS.c.used_ns,
)
_ALL = select(*_COLUMNS).join(USERS, USERS.c.user_id == KEYS.c.user_id).where(KEYS.c.revoked_ns.is_(None))


_FIELDS = (*(column.name for column in _COLUMNS), "secret_hash")
_BY_ID = Lookup(
    _ALL.add_columns(KEYS.c.secret_hash).where(KEYS.c.key_id == bindparam("p0"), USERS.c.disabled.is_(False))
)


def look_up(database: Database, text: str) -> Key | None:
    """Return the key of a text; None where it is not right, has ended, was revoked, or its owner is disabled."""
    key_id, _, secret = text.removeprefix(PREFIX).partition("_")
    if not text.startswith(PREFIX) or len(key_id) != _ID_LENGTH or not secret:
        return None
    row = database.first(_BY_ID, key_id)
    if row is None:
        return None
    values = dict(zip(_FIELDS, row, strict=True))
    if not matches(secret, values.pop("secret_hash")) or values["expires_ns"] <= time.time_ns():
        return None
    return _key(values)


def all_of(connection: Connection, user_id: str | None) -> list[Key]:
    """Return the keys of somebody, or of all people for None, the newest first; without those that were revoked."""
    query = _ALL.order_by(KEYS.c.created_ns.desc(), KEYS.c.key_id)
    if user_id is not None:
        query = query.where(KEYS.c.user_id == user_id)
    return [_key(dict(row)) for row in connection.execute(query).mappings()]


def revoke(connection: Connection, actor: Actor, key_id: str, user_id: str | None) -> None:
    """Revoke a key: of somebody, or anybody's for None. Raises `UnknownAccountError` where there is none."""
    mine = (KEYS.c.key_id == key_id) & KEYS.c.revoked_ns.is_(None)
    if user_id is not None:
        mine &= KEYS.c.user_id == user_id
    if not connection.execute(update(KEYS).where(mine).values(revoked_ns=time.time_ns())).rowcount:
        raise UnknownAccountError(f"there is no key {key_id[:LONGEST_NAME]!r}")
    audit.record(connection, actor, "key.revoke", key_id)


def note_use(connection: Connection, key_id: str) -> None:
    """Note that a key is in use now."""
    connection.execute(update(KEYS).where(KEYS.c.key_id == key_id).values(used_ns=time.time_ns()))


def _by_id(connection: Connection, key_id: str) -> Key:
    return _key(dict(connection.execute(_ALL.where(KEYS.c.key_id == key_id)).mappings().one()))


def _key(row: dict[str, object]) -> Key:
    scopes = tuple(str(row["scopes"]).split())
    return Key(**{**row, "scopes": scopes, "owner_is_admin": bool(row["owner_is_admin"])})  # type: ignore[arg-type]
