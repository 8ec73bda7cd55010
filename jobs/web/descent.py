"""How a job descends from another: the step from which it computes, and the settings that differ."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import schemas
from conf.loader import to_dict
from jobs.analysis.run_diff import parameters
from jobs.core.errors import UserError
from jobs.runs.replay import of_job
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace


def descent_of(workspace: Workspace, job_id: str) -> dict[str, Any] | None:
    """Return `parent`, `start`, `promote`, `recompute`, `quarantined` and `changed` of a replay, None for another job.

    `changed` has the settings that differ from those of the parent, as [then, now]; it is empty where the parent is
    not known any more.
    """
    with suppress(UserError):
        request = of_job(workspace, job_id)
        if request.replay is None:
            return None
        found = {
            name: getattr(request.replay, name) for name in ("parent", "start", "promote", "recompute", "quarantined")
        }
        changed: dict[str, list[Any]] = {}
        with suppress(UserError):
            configs = (of_job(workspace, request.replay.parent).loaded.config, request.loaded.config)
            changed = parameters(*(json.dumps(to_dict(config)) for config in configs))
        return {**found, "changed": changed}
    return None


def current_runs(store: Store) -> dict[str, int]:
    """Return the runs whose rows the tables show, each with the number of stages and streams of which they do."""
    found: dict[str, int] = {}
    for job_id in store.read(schemas.HEADS, ("job_id",))["job_id"].to_pylist():
        found[job_id] = found.get(job_id, 0) + 1
    return found
