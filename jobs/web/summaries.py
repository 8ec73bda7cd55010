"""Counts of a project and of its streams, its last runs and releases, and the next step."""

from __future__ import annotations

import shlex
from typing import Any
from urllib.parse import urlencode

import numpy as np
import polars as pl

import schemas
from jobs.analysis.run_summary import stream_remarks
from jobs.core.errors import UserError
from jobs.records.run_record import as_it_is
from jobs.storage.store import Store
from jobs.views.snapshot_spec import Selection, of_run
from jobs.views.view import View
from jobs.web.frame_columns import NO_TIME
from jobs.web.frame_table import FrameTable
from jobs.web.plain import number, utc
from jobs.web.project_data import ProjectData, Shown

_MOST_RUNS = 8


def overview(data: ProjectData) -> dict[str, Any]:
    """Return the overview of a project as the API has it."""
    shown = data.shown()
    # Runs change without the tables: one whose process has died is failed.
    runs = _runs(data, shown)
    releases = shown.store.read(schemas.RELEASES, ("name", "created_ns")).sort_by("created_ns").to_pylist()[::-1]
    counts = shown.result("counts", lambda: _counts(shown))
    return {
        **counts,
        "runs": runs,
        "releases": [{"name": row["name"], "created_at": utc(row["created_ns"])} for row in releases],
        "next_step": _next_step(counts, runs, releases),
    }


def streams(shown: Shown) -> list[dict[str, Any]]:
    """Return all streams by name, as the API has them."""
    return shown.result("streams", lambda: _streams(shown))


def stream_row(shown: Shown, name: str) -> dict[str, Any] | None:
    """Return a stream's row of `streams`; None for an unknown one."""
    for row in shown.store.read(schemas.STREAMS).to_pylist():
        if row["stream_id"] == name:
            return dict(row)
    return None


def _counts(shown: Shown) -> dict[str, Any]:
    table, keys = shown.frames, shown.view.selection.keys
    verdicts = table.verdicts
    n, kept, dropped = len(table.keys), int(verdicts.kept.sum()), int(verdicts.dropped.sum())
    return {
        "frames": n,
        "kept": kept,
        "dropped": dropped,
        "undecided": n - kept - dropped,
        "reasons": _reasons(table, slice(0, n)),
        "streams": shown.store.open(schemas.STREAMS).n_rows,
        "quarantined": shown.store.open(schemas.QUARANTINE).n_rows,
        "has": {
            "curation": schemas.CURATION.written_by in keys,
            "idle": schemas.IDLE.written_by in keys,
            "scenes": schemas.SCENES.written_by in keys,
            "duplicates": schemas.DUPLICATES.written_by in keys,
            "embeddings": schemas.EMBEDDINGS.written_by in keys,
            "annotations": table.has_objects,
        },
    }


def _reasons(table: FrameTable, rows: slice) -> list[dict[str, Any]]:
    bits, names = table.verdicts.bits[rows], table.verdicts.names
    counts = [(name, int(((bits >> (2 + at)) & 1).sum())) for at, name in enumerate(names)]
    return [{"reason": name, "frames": n} for name, n in counts if n]


def _streams(shown: Shown) -> list[dict[str, Any]]:
    rows = sorted(shown.store.read(schemas.STREAMS).to_pylist(), key=lambda row: str(row["stream_id"]))
    ids = {(row["uri"], row.get("part")): row["stream_id"] for row in rows if row["n_frames"]}
    return [_stream(shown.frames, row, ids) for row in rows]


def _stream(table: FrameTable, row: dict[str, Any], ids: dict[Any, str]) -> dict[str, Any]:
    at = table.keys.rows_of(row["stream_id"])
    bits = table.verdicts.bits[at]
    times = table.column("time")[at]
    times = times[times != NO_TIME]
    indices = {name: None if row[name] is None else number(row[name]) for name in ("first_idx", "last_idx")}
    return {
        "stream_id": row["stream_id"],
        "kind": row["kind"],
        "uri": row["uri"],
        "n_frames": row["n_frames"],
        **indices,
        "n_bad": row["n_bad"],
        "kept": int((bits & 1).sum()),
        "dropped": int(((bits & 3) == 2).sum()),
        "reasons": _reasons(table, at),
        "gaps": [{"start": number(gap["start"]), "end": number(gap["end"])} for gap in row["gaps"] or ()],
        "first_t": utc(int(np.min(times))) if len(times) else None,
        "last_t": utc(int(np.max(times))) if len(times) else None,
        "remarks": stream_remarks(row, ids),
        "error": row["error"],
    }


def _runs(data: ProjectData, shown: Shown) -> list[dict[str, Any]]:
    columns = ("job_id", "state", "parent", "profile", "streams", "frames", "started_ns", "seconds", "environment")
    rows = shown.store.read(schemas.RUNS, columns).sort_by([("started_ns", "descending")]).slice(0, _MOST_RUNS)
    found = []
    for row in rows.to_pylist():
        now = as_it_is(shown.workspace.root, row)
        if now["state"] == "done" and row["job_id"] not in data.kept_by_run:
            data.kept_by_run[row["job_id"]] = _kept_by(shown, row["job_id"])
        found.append(
            {
                "job_id": row["job_id"],
                "state": now["state"],
                "parent": row["parent"],
                "profile": row["profile"],
                "started_at": utc(row["started_ns"]),
                "seconds": row["seconds"],
                "frames": row["frames"],
                "kept": data.kept_by_run.get(row["job_id"]),
                "streams": row["streams"],
            }
        )
    return found


def _kept_by(shown: Shown, job_id: str) -> int | None:
    """Return how many frames a finished run kept; None where it has no verdicts, or they cannot be read any more."""
    try:
        then = of_run(shown.store, job_id)
        keys = then.keys.get(schemas.CURATION.written_by, {})
        if not keys:
            return None
        return _kept(Store(shown.store.root, then.versions, then.given_up), then, keys)
    except (UserError, OSError):
        return None


def _kept(store: Store, then: Selection, keys: Any) -> int | None:
    if then.rules.get(schemas.CURATION.written_by):
        return None
    of_key: dict[str, set[str]] = {}
    for stream, key in keys.items():
        of_key.setdefault(key, set()).add(stream)
    if store.open(schemas.OVERRIDES).n_rows:
        return int(View(store, then).lazy("curation").select(pl.col("keep").sum()).collect().item() or 0)
    table = store.open(schemas.CURATION)
    return sum(table.count(key, frozenset(names), is_true="keep") for key, names in of_key.items())


def _next_step(
    counts: dict[str, Any], runs: list[dict[str, Any]], releases: list[dict[str, Any]]
) -> dict[str, str] | None:
    """Return what comes next, in words and as a command; None while a run is at it."""
    if not runs:
        return _step("Nothing was measured yet: run the pipeline on folders or clips", "run --input FOLDER", "jobs/new")
    last, job = runs[0], runs[0]["job_id"]
    name = releases[0]["name"] if releases else None
    steps = {
        "failed": _step(f"Run {job} failed: see why", f"inspect job --id {job}", f"jobs/{job}"),
        "paused": _step(f"Run {job} is paused", f"job resume {job}", f"jobs/{job}"),
        "running": None,
        "pending": None,
    }
    if last["state"] in steps:
        return steps[last["state"]]
    if counts["quarantined"]:
        text = f"Frames could not be read: {counts['quarantined']:,}; try them again"
        return _step(text, f"job retry {job} --only quarantined", f"jobs/{job}")
    if name is None or (utc(releases[0]["created_ns"]) or "") < last["started_at"]:
        text = "Freeze this version, so that datasets can be exported from it"
        return _step(text, "release create NAME", "datasets/releases?new=1")
    out = shlex.quote(f"{name}-coco")
    command = f"export --format coco --release {shlex.quote(name)} --out {out}"
    return _step(f"Export release {name}", command, f"datasets/exports?{urlencode({'new': 1, 'release': name})}")


def _step(text: str, command: str, page: str) -> dict[str, str]:
    """Return a step in words, as a command, and the page of the project on which it is done."""
    return {"text": text, "command": f"winnow {command}", "page": page}
