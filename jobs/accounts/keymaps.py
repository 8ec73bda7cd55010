"""The keys that people changed, by command: what the pages offer is the pages' own."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, insert, select, update

from jobs.accounts.tables import KEYMAPS


def read(connection: Connection, user_id: str) -> dict[str, list[str]] | None:
    """Return somebody's keys by command; None where nothing was ever changed."""
    found = connection.execute(select(KEYMAPS.c["keys"]).where(KEYMAPS.c.user_id == user_id)).scalar()
    return None if found is None else json.loads(found)


def store(connection: Connection, user_id: str, keys: Mapping[str, Sequence[str]]) -> None:
    """Replace somebody's keys."""
    values = {"keys": json.dumps(keys, ensure_ascii=False, sort_keys=True), "changed_ns": time.time_ns()}
    changed = connection.execute(update(KEYMAPS).where(KEYMAPS.c.user_id == user_id).values(**values))
    if changed.rowcount == 0:
        connection.execute(insert(KEYMAPS).values(user_id=user_id, **values))
