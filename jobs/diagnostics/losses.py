"""Refusal of deletions in a workspace that has lost data, until the loss is repaired or accepted."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

import schemas
from jobs.core.errors import BrokenTableError, UserError
from jobs.core.naming import many
from jobs.diagnostics import file_checks, table_checks
from jobs.storage.paths import Place
from jobs.storage.store import Change, Drop, Snapshot, Store


def refuse_if_broken(store: Store, command: str) -> None:
    """Raise `BrokenTableError`, with all that is wrong, unless the workspace has all that was written to it.

    What merges files or deletes what nothing refers to must not run otherwise: what was lost referred to it.
    """
    found = [*table_checks.jobs(store.root), *table_checks.all_tables(store)]
    if not any(finding.level == "broken" for finding in found):
        found += file_checks.presence(store, file_checks.referred(store))
    broken = [f for f in found if f.level == "broken"]
    if broken:
        raise BrokenTableError([f"{command} did nothing: {f.found}; {f.fix}" for f in broken])


def accept_loss(store: Store, table: schemas.Table, job_id: str) -> str:
    """Have a table that was lost, or the end of it, count as what it is now; return what that is.

    A table that cannot be read is moved to `.lost-NAME-NS` in the workspace. Where a table is missing, the heads and
    scopes of its stage go as well, so that none shows what is not there. Raises `UserError` for a table that is whole.
    """
    if table.name not in {finding.table for finding in table_checks.all_tables(store)}:
        raise UserError(f"table {table.name} has all that was recorded of it: there is no loss to accept")
    store.forget(table)
    store.written.accept_loss(table.name, table_checks.last_record_ns(store, table))
    try:
        snapshot = store.open(table)
    except BrokenTableError as error:
        _move_away(store.root, table, error)
        snapshot = store.open(table)
    if snapshot.version >= 0:
        store.note(snapshot)
        return f"table {table.name} counts as it is now: version {snapshot.version}, {many(snapshot.n_rows, 'row')}"
    if table.has_stage_key:
        _forget_stage(store, table.written_by, job_id)
    return f"table {table.name} counts as one that was never written"


def _move_away(root: Place, table: schemas.Table, error: BrokenTableError) -> None:
    folder = root.on_disk()
    if folder is None:
        raise UserError(f"{root / table.name} cannot be read; delete what is below this prefix: {error}") from error
    (folder / table.name).rename(folder / f".lost-{table.name}-{time.time_ns()}")


def _forget_stage(store: Store, stage: str, job_id: str) -> None:
    for table in (schemas.HEADS, schemas.SCOPES):
        # One that was lost as well says nothing of the stage.
        with suppress(BrokenTableError):
            rows = store.read(table)
            keys = rows.filter(pc.equal(rows["stage"], stage)).select(list(table.key))
            if keys.num_rows:
                store.transact(table, partial(_dropping, keys), job_id)


def _dropping(keys: pa.Table, _: Snapshot) -> Change:
    return Change(drop=[Drop(keys=keys)])
