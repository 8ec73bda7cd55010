"""Jobs as the tables know them: those that never had records, and the end of those that are to be forgotten."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

import schemas
from jobs.core.errors import UserError
from jobs.runs.control import Job
from jobs.storage.paths import Place
from jobs.storage.store import Drop, Store


def ids(root: Place) -> set[str]:
    """Return the ids of all runs."""
    return set(Store(root).read(schemas.RUNS, ("job_id",))["job_id"].to_pylist())


def state_of(root: Place, job_id: str) -> tuple[str, str | None]:
    """Return the state that a run's row leaves it in now that nobody holds it, and why it failed if it did."""
    rows = Store(root).read(schemas.RUNS)
    for row in rows.filter(pc.equal(rows["job_id"], job_id)).to_pylist():
        return row["state"] if row["state"] in {"done", "paused", "cancelled"} else "failed", row["error"]
    return "failed", None


def put_down(job: Job, state: str) -> None:
    """Let the row of a job that nobody runs say what was made of it."""
    store = Store(job.workspace.root)
    rows = store.read(schemas.RUNS)
    changed = [
        row | {"state": state, "error": None} for row in rows.filter(pc.equal(rows["job_id"], job.job_id)).to_pylist()
    ]
    if changed:
        store.upsert(schemas.RUNS, pa.Table.from_pylist(changed, schemas.RUNS.arrow_schema), job.job_id)


def clear(job: Job) -> None:
    """Remove the records of a job that is over, and its rows in `runs` and `stage_runs`; what it computed stays.

    Raises `UserError`, with every reason, for a job that is not over or that something refers to.
    """
    state = job.state()
    store = Store(job.workspace.root)
    problems = []
    if not state.ended:
        problems.append(f"job {job.job_id} is {state.state}; expected one that is done, failed or cancelled")
    heads = store.read(schemas.HEADS, ("stream_id", "job_id"))
    shown = sorted(set(heads.filter(pc.equal(heads["job_id"], job.job_id))["stream_id"].to_pylist()))
    if shown:
        problems.append(f"job {job.job_id} made what the tables show of {', '.join(shown)}")
    releases = store.read(schemas.RELEASES, ("name", "job_id"))
    problems += [
        f"job {job.job_id} is what release {name} was made of"
        for name in releases.filter(pc.equal(releases["job_id"], job.job_id))["name"].to_pylist()
    ]
    runs = store.read(schemas.RUNS, ("job_id", "parent"))
    children = runs.filter(pc.equal(runs["parent"], job.job_id))["job_id"].to_pylist()
    problems += [f"job {job.job_id} is the parent of {name}; clear that one first" for name in children]
    if problems:
        raise UserError(problems)
    # The records last: what is cut short here can be cleared again.
    for table in (schemas.STAGE_RUNS, schemas.RUNS):
        rows = store.read(table)
        keys = rows.filter(pc.equal(rows["job_id"], job.job_id)).select(list(table.key))
        # One that never began has none, and there need not even be tables.
        if keys.num_rows:
            store.upsert(table, table.empty(), job.job_id, Drop(keys=keys))
    # A job whose first record is gone is no longer listed, whatever of the rest stays if this is cut short.
    (job.inbox.folder / "000001.json").delete()
    job.inbox.folder.delete_tree()
