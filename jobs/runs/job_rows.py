"""Rows of a job in the tables `runs` and `stage_runs`: its state, references to it, and their deletion."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

import schemas
from jobs.core.job_states import JobStateName
from jobs.storage.paths import Place
from jobs.storage.store import Drop, Store


def state_of(root: Place, job_id: str) -> str | None:
    """Return the state in the row of a job, None for a job without one."""
    rows = Store(root).read(schemas.RUNS, ("job_id", "state"))
    states: list[str] = rows.filter(pc.equal(rows["job_id"], job_id))["state"].to_pylist()
    return states[0] if states else None


def set_state(root: Place, job_id: str, state: JobStateName) -> None:
    """Write a state into the row of a job that no process runs; nothing where it has no row."""
    store = Store(root)
    rows = store.read(schemas.RUNS)
    changed = [
        row | {"state": state, "error": None} for row in rows.filter(pc.equal(rows["job_id"], job_id)).to_pylist()
    ]
    if changed:
        store.upsert(schemas.RUNS, pa.Table.from_pylist(changed, schemas.RUNS.arrow_schema), job_id)


def references(root: Place, job_id: str) -> list[str]:
    """Return a line for every head, release and child run that refers to a run."""
    store = Store(root)
    found = []
    heads = store.read(schemas.HEADS, ("stream_id", "job_id"))
    shown = sorted(set(heads.filter(pc.equal(heads["job_id"], job_id))["stream_id"].to_pylist()))
    if shown:
        found.append(f"job {job_id} made what the tables show of {', '.join(shown)}")
    releases = store.read(schemas.RELEASES, ("name", "job_id"))
    found += [
        f"job {job_id} is what release {name} was made of"
        for name in releases.filter(pc.equal(releases["job_id"], job_id))["name"].to_pylist()
    ]
    runs = store.read(schemas.RUNS, ("job_id", "parent"))
    children = runs.filter(pc.equal(runs["parent"], job_id))["job_id"].to_pylist()
    return found + [f"job {job_id} is the parent of {name}; clear that one first" for name in children]


def delete(root: Place, job_id: str) -> None:
    """Delete the rows of a run from `stage_runs` and `runs`; the rows that it computed stay."""
    store = Store(root)
    for table in (schemas.STAGE_RUNS, schemas.RUNS):
        rows = store.read(table)
        keys = rows.filter(pc.equal(rows["job_id"], job_id)).select(list(table.key))
        # A job that never began has no rows, and there need not even be tables.
        if keys.num_rows:
            store.upsert(table, table.empty(), job_id, Drop(keys=keys))
