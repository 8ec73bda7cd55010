"""Jobs of a workspace as plain values: their inputs, what was kept, and how long they took."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import schemas
from jobs.dispatch.job_queue import QueuedJob
from jobs.dispatch.overview import Overview
from jobs.storage.paths import Place
from jobs.storage.store import Store

_COLUMNS = ("job_id", "inputs", "frames", "counts", "started_ns", "seconds", "error")


def listed(root: Place) -> list[dict[str, Any]]:
    """Return the jobs of the workspace at `root` as they really are, oldest first.

    `frames`, `kept`, `started_ns` and `seconds` are None for a job that has not begun; `kept` and `seconds` also while
    it runs.
    """
    rows = {row["job_id"]: row for row in Store(root).read(schemas.RUNS, _COLUMNS).to_pylist()}
    return [_described(job, rows.get(job.job_id, {})) for job in Overview(root).jobs()]


def asked_inputs(job: QueuedJob) -> Sequence[str]:
    """Return the inputs that a job was submitted with; none where its records do not have them any more."""
    asked = job.submitted.get("asked") or job.submitted.get("request") or {}
    return [str(given) for given in asked.get("inputs") or ()]


def _described(job: QueuedJob, row: dict[str, Any]) -> dict[str, Any]:
    return {
        "job_id": job.job_id,
        "state": job.state.state,
        "asked": job.state.request.word if job.state.request else None,
        "queued": job.state.queued,
        "schedule": job.schedule,
        "inputs": list(row.get("inputs") or asked_inputs(job)),
        "frames": row.get("frames"),
        "kept": json.loads(row.get("counts") or "{}").get("kept"),
        "started_ns": row.get("started_ns"),
        "seconds": row.get("seconds"),
        "error": job.error or row.get("error"),
    }
