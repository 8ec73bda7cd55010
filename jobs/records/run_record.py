"""Rows of a run in `runs` and of its stages in `stage_runs`, from start to end."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

import schemas
from conf import PipelineConfig
from conf.loader import to_dict
from jobs.core.job_states import FINAL, JobStateName, StageStateName
from jobs.core.naming import many
from jobs.core.processes import has_ended, process_identity
from jobs.core.requirements import DISTRIBUTION, required_packages
from jobs.core.stage import Stage, canonical
from jobs.records.job_log import DIED, JobLog, JobState, seen, settled
from jobs.storage.paths import Place
from jobs.storage.store import Store


@dataclass
class StageOutcome:
    """What a run did for one stage; the numbers are frames.

    `verified` are those among `reused` whose content was checked, since a file's size or mtime had changed.
    """

    frames_in: int = 0
    computed: int = 0
    reused: int = 0
    verified: int = 0
    corrupt: int = 0
    quarantined: int = 0
    removed: int = 0
    seconds: float = 0.0
    state: StageStateName = "pending"

    @property
    def left_over(self) -> int:
        """Return how many frames have neither a row nor a place in the quarantine."""
        return max(0, self.frames_in - self.computed - self.reused - self.quarantined)

    def account(
        self,
        earlier: StageOutcome,
        *,
        frames_in: int,
        computed: int,
        done: int | None = None,
        quarantined: int | None = None,
        verified: int = 0,
        removed: int = 0,
        seconds: float = 0.0,
        state: StageStateName = "done",
    ) -> None:
        """Take in what a run did for the stage, on top of what an `earlier` part of it did before a pause.

        `done` is how many frames have a valid row now: those that the run has not computed are reused. None for `done`
        or `quarantined` leaves what is known of these.
        """
        self.frames_in = frames_in
        self.computed = earlier.computed + computed
        self.verified = earlier.verified + verified
        self.removed = earlier.removed + removed
        self.seconds = earlier.seconds + seconds
        self.state = state
        if done is not None:
            self.reused = max(0, done - self.computed)
        if quarantined is not None:
            self.quarantined = quarantined


@dataclass
class RunRecord:
    """A run as the `runs` and `stage_runs` tables show it.

    `earlier` and `earlier_counts` are what it had done when it was last paused, or failed, and `seconds_before` how
    long that took; `resumed_ns` is when it was resumed.
    """

    job_id: str
    config: PipelineConfig
    profile: str
    inputs: Sequence[str]
    streams: Sequence[str]
    frames: int
    stages: Sequence[Stage]
    parent: str | None = None
    state: JobStateName = "running"
    started_ns: int = field(default_factory=time.time_ns)
    ended_ns: int | None = None
    error: str | None = None
    resumed_ns: int | None = None
    seconds_before: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)
    frames_per_second: float = 0.0
    versions: dict[str, int] | None = None
    outcomes: dict[str, StageOutcome] = field(default_factory=dict)
    earlier: dict[str, StageOutcome] = field(default_factory=dict)
    earlier_counts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for stage in self.stages:
            self.outcomes.setdefault(stage.name, StageOutcome())
            self.earlier.setdefault(stage.name, StageOutcome())

    def outcome_of(self, table: schemas.Table) -> StageOutcome | None:
        """Return the outcome of the stage that writes a table first, None where the run has none."""
        return next((self.outcomes[stage.name] for stage in self.stages if stage.table == table), None)

    @property
    def seconds(self) -> float:
        """Return how long the run has been running, without pauses."""
        ended_ns = self.ended_ns or time.time_ns()
        return self.seconds_before + (ended_ns - (self.resumed_ns or self.started_ns)) / 1e9

    @property
    def seconds_by_now(self) -> float:
        """Return how long the run has taken, without pauses, with what its process has done since its end."""
        return self.seconds_before + max(0, time.time_ns() - (self.resumed_ns or self.started_ns)) / 1e9

    @property
    def shortcoming(self) -> str | None:
        """Return what is wrong with a strict run: that it has bad frames; None if it has none."""
        bad = max((o.corrupt + o.quarantined for o in self.outcomes.values()), default=0)
        return f"{many(bad, 'frame', 'are')} corrupt or quarantined, and the run is strict" if bad else None

    def summary(self) -> dict[str, Any]:
        """Return the run as programs read it; see `winnow run --json`."""
        return {
            "job_id": self.job_id,
            "state": self.state,
            "parent": self.parent,
            "profile": self.profile,
            "streams": list(self.streams),
            "frames": self.frames,
            "stages": {
                name: {
                    "computed": o.computed,
                    "reused": o.reused,
                    "verified": o.verified,
                    "corrupt": o.corrupt,
                    "quarantined": o.quarantined,
                    "removed": o.removed,
                    "seconds": round(o.seconds, 3),
                }
                for name, o in self.outcomes.items()
            },
            "counts": self.counts,
            "seconds": round(self.seconds, 3),
            "frames_per_second": round(self.frames_per_second, 1),
            "versions": self.versions,
            "error": self.error,
        }

    def restore_earlier(self, store: Store) -> None:
        """Take over what the tables say of this run, if they know it: when it started, and what it did before."""
        rows = store.read(schemas.RUNS)
        for row in rows.filter(pc.equal(rows["job_id"], self.job_id)).to_pylist():
            self.started_ns, self.resumed_ns = row["started_ns"], self.started_ns
            self.seconds_before = row["seconds"] or 0.0
            self.earlier_counts = json.loads(row["counts"])
            self.frames_per_second = row["frames_per_second"]
        stages = store.read(schemas.STAGE_RUNS)
        names = [f.name for f in fields(StageOutcome)]
        keys = {stage.name: stage.key for stage in self.stages}
        for row in stages.filter(pc.equal(stages["job_id"], self.job_id)).to_pylist():
            if row["stage_key"] != keys.get(row["stage"]):
                # The program has changed since, so that those results do not count for this one.
                continue
            self.earlier[row["stage"]] = StageOutcome(**{name: row[name] for name in names if row[name] is not None})
        # Until a stage is done, its earlier counts stand.
        self.outcomes = {stage.name: replace(self.earlier[stage.name]) for stage in self.stages}
        self.counts = dict(self.earlier_counts)

    def finish(self, store: Store, versions: Mapping[str, int]) -> None:
        """Write the rows of a run that is done; it counts as done once they are written."""
        self.ended_ns = time.time_ns()
        replace(self, state="done", versions=dict(versions)).save(store)
        self.state, self.versions = "done", dict(versions)

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
            "seconds": self.seconds if self.ended_ns else self.seconds_before or None,
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
            "rule": stage.rule and stage.rule.sql,
            "context": stage.context,
        }


def environment() -> dict[str, Any]:
    """Return the environment of the run: versions, machine and process."""
    return {**_installed(), **process_identity()}


@cache
def _installed() -> dict[str, str]:
    """Return the versions of Python and libraries; cached, since reading the metadata of each takes time."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    with suppress(PackageNotFoundError):
        for name in (DISTRIBUTION, *required_packages()):
            with suppress(PackageNotFoundError):
                found[name] = version(name)
    return found


def as_it_is(root: Place, row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of `runs` with the current state of the job, by its records and by whether its process lives."""
    if row["state"] in FINAL:
        return dict(row)
    job = seen(JobLog(root, row["job_id"]))
    if row["state"] == "running" and has_ended(json.loads(row["environment"])):
        return row | _ended(job)
    return row | ({"state": job.state} if job else {})


def _ended(job: JobState | None) -> dict[str, Any]:
    """Return state and error of a run whose process has ended, by the records of its job."""
    state = job.state if job else "failed"
    return {"state": state, "error": ((job and job.error) or DIED) if state == "failed" else None}


def close_dead_runs(store: Store, job_id: str) -> list[str]:
    """Mark runs as failed whose process has ended without recording it; return their ids."""
    runs = store.read(schemas.RUNS)
    if not runs.num_rows:
        return []
    running = runs.filter(pc.equal(runs["state"], "running")).to_pylist()
    others = [r for r in running if r["job_id"] != job_id]
    gone = [r for r in others if has_ended(json.loads(r["environment"]))]
    known = [(row, settled(JobLog(store.root, row["job_id"]))) for row in gone]
    # Those still running are queued, or were resumed by a process that has yet to write its row.
    dead = [
        row | _ended(job) | {"ended_ns": time.time_ns()} for row, job in known if job is None or job.state != "running"
    ]
    if dead:
        store.upsert(schemas.RUNS, pa.Table.from_pylist(dead, schemas.RUNS.arrow_schema), job_id)
    return [r["job_id"] for r in dead]
