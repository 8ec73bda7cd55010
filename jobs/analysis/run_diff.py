"""Differences between two runs, each read at its final table versions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import polars as pl

import schemas
from conf.loader import flat
from jobs.core.errors import BrokenTableError, UserError
from jobs.core.os_errors import damage_in
from jobs.storage.store import Store
from jobs.views import snapshot_spec
from jobs.views.missing_files import is_of_missing_file, said_of_missing
from jobs.views.snapshot_spec import Selection
from jobs.views.table_diff import between
from jobs.views.view import View

# These settings affect the speed of a run, never its results.
_NO_RESULT = ("resources.", "unit_frames")


def parameters(one: str, other: str) -> dict[str, list[Any]]:
    """Return the settings that differ between two recorded configurations, as [one, other]."""
    was, now = flat(json.loads(one)), flat(json.loads(other))
    keys = sorted({*was, *now})
    return {
        key: [was.get(key), now.get(key)]
        for key in keys
        if was.get(key) != now.get(key) and not key.startswith(_NO_RESULT)
    }


def run_diff(store: Store, one: str, other: str, tolerance: float = 0.0, shown: int = 5) -> dict[str, Any]:
    """Return how two finished runs differ: settings, and the rows of every stage.

    `same` is true if no rows differ. Measured numbers may differ by `tolerance`. Raises `UserError` for a run that is
    unknown, is not finished, or whose versions were deleted.
    """
    runs = [snapshot_spec.find_run(store, job_id) for job_id in (one, other)]
    chosen = [snapshot_spec.of_run(store, run["job_id"]) for run in runs]
    stages = {
        table.name: _stage(store, table, chosen, runs, tolerance, shown)
        for table in schemas.ALL
        if table.has_stage_key and any(table.written_by in c.keys for c in chosen)
    }
    return {
        "runs": [run["job_id"] for run in runs],
        "same": not any(stage["differing"] for stage in stages.values()),
        "parameters": parameters(runs[0]["config"], runs[1]["config"]),
        "stages": stages,
    }


def selected_rows(store: Store, job_id: str, table: schemas.Table) -> pl.DataFrame:
    """Return the rows of a table that a finished run shows. Raises `UserError` as `run_diff` does."""
    run = snapshot_spec.find_run(store, job_id)
    return _rows(store, snapshot_spec.of_run(store, run["job_id"]), table, run["job_id"])


def _stage(
    store: Store,
    table: schemas.Table,
    chosen: list[Selection],
    runs: Sequence[Mapping[str, Any]],
    tolerance: float,
    shown: int,
) -> dict[str, Any]:
    if _is_one(table, *chosen):
        return {"differing": 0, "same_rows": True}
    before, after = (_rows(store, selected, table, run["job_id"]) for selected, run in zip(chosen, runs, strict=True))
    found = between(table, before, after, tolerance, shown)
    return {"differing": found.n_differing, "same_rows": False} | asdict(found)


def _is_one(table: schemas.Table, one: Selection, other: Selection) -> bool:
    """Return whether two runs show identical rows of a table, by its version and stage keys."""
    versions = [(s.versions or {}).get(table.name) for s in (one, other)]
    if any(table.written_by in s.rules for s in (one, other)):
        # With rules, the rows shown depend on other tables.
        return False
    return versions[0] == versions[1] and one.keys.get(table.written_by) == other.keys.get(table.written_by)


def _rows(store: Store, selected: Selection, table: schemas.Table, job_id: str) -> pl.DataFrame:
    try:
        return View(store, selected).lazy(table.name).collect()
    except (OSError, pl.exceptions.PolarsError) as error:
        if damage := damage_in(error):
            raise BrokenTableError(damage) from error
        if not is_of_missing_file(error):
            raise
        raise UserError(said_of_missing(store, selected, f"run {job_id}")) from error
