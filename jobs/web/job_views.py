"""Jobs as pages show them: what the records say, and how far the journal is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs.core.job_states import STOPPED
from jobs.dispatch.job_queue import QueuedJob
from jobs.dispatch.overview import Overview
from jobs.web.plain import utc

_STARTS = frozenset({"claimed", "started"})


def summary(overview: Overview, job: QueuedJob, run: Mapping[str, Any]) -> dict[str, Any]:
    """Return a job in one line: its state, since when, and its options, for which `run` is its row of the table.

    `number` is that of its last record, by which a request says on which state it was decided.
    """
    state = job.state
    asked = {**run, **_options(job)}
    live = overview.progress(job.job_id).values() if state.state == "running" else {}
    started = [record.at_ns for record in job.records if record.word in _STARTS]
    replayed = asked.get("replay") or {}
    return {
        "job_id": job.job_id,
        "state": state.state,
        "number": state.number,
        "queued": state.queued,
        "parent": replayed.get("parent") or run.get("parent"),
        "kind": job.kind,
        "result": dict(job.result) or None,
        "profile": asked.get("profile"),
        "inputs": [str(source) for source in asked.get("inputs") or ()],
        "frames": run.get("frames"),
        "seconds": run.get("seconds"),
        "schedule": job.schedule,
        "priority": job.priority if state.queued else None,
        "submitted_at": utc(job.submitted_ns),
        "started_at": utc(started[0]) if started else None,
        "ended_at": utc(job.records[-1].at_ns) if state.state in STOPPED else None,
        "asked": state.request.word if state.request else None,
        "error": state.error or job.error,
        **{name: live.get(name) for name in ("stage", "done", "total", "frames_per_second", "eta_s")},
    }


def stages(overview: Overview, job_id: str, recorded: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the stages of a run in order: what tables say of those that ended, and the journal of those that run."""
    progress = overview.progress(job_id)
    found: dict[str, dict[str, Any]] = {
        name: {
            "stage": name,
            **{field: row.get(field) for field in ("state", "computed", "reused", "corrupt", "quarantined", "seconds")},
            "done": None,
            "total": None,
        }
        for name, row in recorded.items()
    }
    for name, stage in progress.stages.items():
        row = found.setdefault(name, {"stage": name, "state": "running", "computed": None, "reused": None})
        if stage is progress.current:
            row["state"] = "running"
        row |= {
            "done": stage.done,
            "total": stage.total,
            "frames_per_second": round(stage.frames_per_second(), 1),
            "eta_s": stage.eta_s(),
        }
    return list(found.values())


def _options(job: QueuedJob) -> Mapping[str, Any]:
    """Return the options of a job as its newest record with any has them; empty for a run without."""
    for record in reversed(job.records):
        if found := record.data.get("request") or record.data.get("asked") or record.data.get("task"):
            return dict(found)
    return {}
