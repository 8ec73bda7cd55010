"""The record of what ran: one row per run and one per stage of it, from start to end."""

from __future__ import annotations

import json
import platform
import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

import schemas
from conf import PipelineConfig
from conf.loader import to_dict
from jobs.processes import has_ended, process_identity
from jobs.stage import Stage, canonical
from jobs.store import Store

_LIBRARIES = ("winnow", "ray", "pyarrow", "polars", "deltalake", "numpy", "opencv-python-headless", "numba")


def new_job_id() -> str:
    """Return an id for a run; ids sort by time, to the millisecond."""
    now = datetime.now(UTC)
    return f"{now:%Y%m%d-%H%M%S}-{now.microsecond // 1000:03}{secrets.token_hex(2)}"


@dataclass
class StageOutcome:
    """What a run did for one stage; the numbers are frames."""

    frames_in: int = 0
    computed: int = 0
    reused: int = 0
    corrupt: int = 0
    quarantined: int = 0
    removed: int = 0
    seconds: float = 0.0
    state: str = "pending"


@dataclass
class RunRecord:
    """A run as the `runs` and `stage_runs` tables show it."""

    job_id: str
    config: PipelineConfig
    profile: str
    inputs: Sequence[str]
    streams: Sequence[str]
    frames: int
    stages: Sequence[Stage]
    parent: str | None = None
    state: str = "running"
    started_ns: int = field(default_factory=time.time_ns)
    ended_ns: int | None = None
    error: str | None = None
    counts: dict[str, int] = field(default_factory=dict)
    frames_per_second: float = 0.0
    versions: dict[str, int] | None = None
    outcomes: dict[str, StageOutcome] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for stage in self.stages:
            self.outcomes.setdefault(stage.name, StageOutcome())

    def save(self, store: Store) -> None:
        """Write the rows of the run, in place of what they were."""
        stage_rows = [self._stage_row(stage) for stage in self.stages]
        store.upsert(schemas.STAGE_RUNS, pa.Table.from_pylist(stage_rows, schemas.STAGE_RUNS.arrow_schema), self.job_id)
        store.upsert(schemas.RUNS, pa.Table.from_pylist([self._row()], schemas.RUNS.arrow_schema), self.job_id)

    def _row(self) -> dict[str, Any]:
        return {
            "job_id": self.job_id,
            "parent": self.parent,
            "state": self.state,
            "profile": self.profile,
            "config": json.dumps(to_dict(self.config)),
            "inputs": list(self.inputs),
            "streams": list(self.streams),
            "frames": self.frames,
            "counts": json.dumps(self.counts),
            "frames_per_second": self.frames_per_second,
            "started_ns": self.started_ns,
            "ended_ns": self.ended_ns,
            "seconds": None if self.ended_ns is None else (self.ended_ns - self.started_ns) / 1e9,
            "error": self.error,
            "environment": json.dumps(environment()),
            "versions": None if self.versions is None else json.dumps(self.versions),
        }

    def _stage_row(self, stage: Stage) -> dict[str, Any]:
        return asdict(self.outcomes[stage.name]) | {
            "job_id": self.job_id,
            "stage": stage.name,
            "stage_key": stage.key,
            "params": json.dumps(canonical(stage.params)),
            "code_hash": stage.code_hash,
            "upstream": json.dumps({s.name: s.key for s in stage.upstream}),
        }


def environment() -> dict[str, Any]:
    """Return what ran the run: versions, machine and process."""
    found: dict[str, Any] = {"python": platform.python_version(), "platform": platform.platform()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found | process_identity()


def close_dead_runs(store: Store, job_id: str) -> list[str]:
    """Mark runs as failed whose process has ended without saying so; return their ids."""
    runs = store.read(schemas.RUNS)
    if not runs.num_rows:
        return []
    running = runs.filter(pc.equal(runs["state"], "running")).to_pylist()
    dead = [r for r in running if has_ended(json.loads(r["environment"]))]
    for row in dead:
        row |= {"state": "failed", "error": "its process ended without finishing", "ended_ns": time.time_ns()}
    if dead:
        store.upsert(schemas.RUNS, pa.Table.from_pylist(dead, schemas.RUNS.arrow_schema), job_id)
    return [r["job_id"] for r in dead]
