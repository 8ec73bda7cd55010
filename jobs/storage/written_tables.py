"""Comparison of the tables of a workspace with the record of what was written, before and after a run."""

from __future__ import annotations

import schemas
from jobs.core.errors import BrokenTableError
from jobs.storage.delta_log import log_entry, lost_message
from jobs.storage.store import Store


def refuse_losses(store: Store) -> None:
    """Raise `BrokenTableError`, with all of them, where tables are not there that were written.

    Takes one listing; that a table has all its rows is checked when it is opened.
    """
    recorded, there = store.written.newest(), set(store.root.folders())
    lost = [
        lost_message(store.root / name, written.version, -1, written.n_rows)
        for name, written in sorted(recorded.items())
        if name not in there or not _has_entry(store, name, written.version)
    ]
    if lost:
        raise BrokenTableError(lost)


def _has_entry(store: Store, name: str, version: int) -> bool:
    return store.root.is_remote or log_entry(store.root / name, version).exists()


def record_unrecorded(store: Store) -> None:
    """Record the tables of which nothing is on record: those of workspaces of before there was a record."""
    recorded, there = store.written.load(), set(store.root.folders())
    for table in (t for t in schemas.ALL if t.name in there and t.name not in recorded):
        if (snapshot := store.open(table)).version >= 0:
            store.written.add(table.name, snapshot.state)
