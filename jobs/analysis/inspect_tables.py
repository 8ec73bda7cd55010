"""Data for `winnow inspect`: runs, jobs, streams and tables as plain values."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pyarrow.compute as pc

import schemas
from jobs.analysis.run_diff import parameters
from jobs.core.errors import UserError
from jobs.ingest import folders
from jobs.records.job_log import JobLog
from jobs.records.run_record import as_it_is
from jobs.storage.paths import place
from jobs.storage.store import Store
from jobs.views import snapshot_spec
from jobs.views.curation_counts import verdicts
from jobs.views.view import View

_STRETCHES = {
    "scenes": ("start_idx", "end_idx", "n_frames", "begins"),
    "idle": ("start_idx", "end_idx", "n_frames", "idle_score", "frozen"),
}


def runs(store: Store) -> list[dict[str, Any]]:
    """Return all runs, oldest first; for a child run also its command, and the settings that differ from its parent."""
    rows = store.read(schemas.RUNS).sort_by("job_id").to_pylist()
    columns = ("job_id", "state", "parent", "profile", "inputs", "streams", "frames", "started_ns", "seconds", "error")
    configs = {row["job_id"]: row["config"] for row in rows}
    return [
        {name: as_it_is(store.root, row)[name] for name in columns}
        | {
            "kept": json.loads(row["counts"] or "{}").get("kept"),
            "asked": _asked(store, row["job_id"]) if row["parent"] else None,
            "changed": parameters(configs[row["parent"]], row["config"]) if row["parent"] in configs else {},
        }
        for row in rows
    ]


def _asked(store: Store, job_id: str) -> str:
    """Return how a run derives from its parent, in words."""
    for record in JobLog(store.root, job_id).records():
        replay = record.data.get("request", {}).get("replay")
        if replay:
            if replay["again"]:
                return f"replay-stage {replay['again']}"
            return "retry --only quarantined" if replay["quarantined"] else f"replay --from {replay['start']}"
    return "replay"


def job(store: Store, job_id: str) -> dict[str, Any]:
    """Return one run with its stages. Raises `UserError` for an unknown id."""
    row = as_it_is(store.root, snapshot_spec.find_run(store, job_id))
    for name in ("config", "counts", "environment", "versions"):
        row[name] = json.loads(row[name]) if row[name] else None
    stages = store.read(schemas.STAGE_RUNS)
    mine = {r["stage"]: r for r in stages.filter(pc.equal(stages["job_id"], row["job_id"])).to_pylist()}
    stages_in_order = dict.fromkeys(table.written_by for table in schemas.ALL)
    row["stages"] = {name: _stage(mine[name]) for name in stages_in_order if name in mine}
    return row


def _stage(row: dict[str, Any]) -> dict[str, Any]:
    kept = {k: v for k, v in row.items() if k not in {"job_id", "stage"}}
    return kept | {name: json.loads(row[name]) for name in ("params", "upstream")}


def stream(store: Store, path: str | None, stream_id: str | None) -> dict[str, Any]:
    """Return one stream, by its folder or its id, with its results. Raises `UserError` for an unknown one."""
    if (path is None) == (stream_id is None):
        raise UserError("expected either --path DIR or --id ID")
    rows = store.read(schemas.STREAMS).to_pylist()
    at = place(path).expanduser().absolute() if path else None
    found = [r for r in rows if r["stream_id"] == stream_id or (at is not None and folders.same_place(r["uri"], at))]
    if not found:
        known = ", ".join(f"{r['stream_id']} ({r['uri']})" for r in rows) or "none yet"
        raise UserError(f"no stream {stream_id or path} in this workspace; there are: {known}")
    row = dict(found[0])
    name = row["stream_id"]
    view = View(store, snapshot_spec.current(store))
    verdict = verdicts(view, [name])
    stretches = {
        table: view.lazy(table)
        .filter(pl.col("stream_id") == name)
        .sort("start_idx")
        .select(columns)
        .collect()
        .to_dicts()
        for table, columns in _STRETCHES.items()
    }
    return row | {
        "kept": verdict.kept,
        "reasons": verdict.reasons,
        **stretches,
    }


def tables(store: Store) -> list[dict[str, Any]]:
    """Return version, rows, files, bytes and number of stage keys of every table."""
    found = []
    for table in schemas.ALL:
        snapshot = store.open(table)
        found.append(
            {
                "table": table.name,
                "version": snapshot.version,
                "rows": snapshot.n_rows,
                "files": len(snapshot.files),
                "bytes": sum(f.size_bytes for f in snapshot.files),
                "stage_keys": len(snapshot.stage_keys()) if table.has_stage_key else None,
                "doc": table.doc,
            }
        )
    return found
