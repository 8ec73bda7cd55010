"""What is known of the jobs of each project: read on where somebody asks, by one thread at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc
from fastapi import Request

import schemas
from jobs.dispatch.job_queue import QueuedJob
from jobs.dispatch.overview import Overview
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.web import job_views

_OF_RUNS = ("job_id", "parent", "profile", "inputs", "streams", "frames", "seconds")


class ProjectJobs:
    """The jobs of one project. Records of those that are over keep no options, which are then those of their run."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.overview = Overview(workspace.root)
        self._runs: dict[str, dict[str, Any]] = {}
        self._without: set[str] = set()

    def summaries(self) -> list[dict[str, Any]]:
        """Return all jobs in a line each, oldest first."""
        jobs = self.overview.jobs()
        self._read_runs([job for job in jobs if job.state.is_final])
        return [self.summary(job) for job in jobs]

    def find(self, job_id: str) -> QueuedJob | None:
        """Return a job by its whole id; None where there is none."""
        return next((job for job in self.overview.jobs() if job.job_id == job_id), None)

    def summary(self, job: QueuedJob) -> dict[str, Any]:
        """Return one job in a line."""
        return job_views.summary(self.overview, job, self.run_of(job))

    def run_of(self, job: QueuedJob) -> Mapping[str, Any]:
        """Return what the table `runs` says of a job that is over; nothing for one that never began, or is not over."""
        self._read_runs([job] if job.state.is_final else [])
        return self._runs.get(job.job_id, {})

    def _read_runs(self, jobs: list[QueuedJob]) -> None:
        """Read the rows of jobs that are over, of which nothing changes any more, once."""
        wanted = {job.job_id for job in jobs} - self._runs.keys() - self._without
        if not wanted:
            return
        rows = Store(self.workspace.root).read(schemas.RUNS, _OF_RUNS)
        found = rows.filter(pc.is_in(rows["job_id"], pa.array(sorted(wanted)))).to_pylist()
        self._runs |= {row["job_id"]: row for row in found}
        self._without |= wanted - self._runs.keys()


class Overviews:
    """The jobs of all projects; each remembers the records and journals that it has read."""

    def __init__(self) -> None:
        self._one = Lock()
        self._known: dict[str, tuple[Lock, ProjectJobs]] = {}

    @contextmanager
    def of(self, project: str, workspace: Workspace) -> Iterator[ProjectJobs]:
        """Give the jobs of a project to one thread."""
        with self._one:
            known = self._known.get(project)
            if known is None or str(known[1].workspace.root) != str(workspace.root):
                known = self._known[project] = (Lock(), ProjectJobs(workspace))
        with known[0]:
            yield known[1]


@contextmanager
def jobs_of_project(request: Request, project: str, workspace: Workspace) -> Iterator[ProjectJobs]:
    """Give the jobs of a project of the server that got a request."""
    with cast("Overviews", request.app.state.overviews).of(project, workspace) as found:
        yield found
