"""Submission of a job to the queue of a workspace, after a check that it can run."""

from __future__ import annotations

import os

from jobs.core.naming import new_job_id
from jobs.dispatch import control_token
from jobs.records.job_log import JobLog
from jobs.runs.prepare import RunRequest, prepare
from jobs.runs.run_options import RunOptions, build_request


def submit(workspace: str | os.PathLike[str] | None, options: RunOptions, priority: int = 0) -> str:
    """Add a job to the queue and return its id. Raises `UserError` with everything that is wrong, before it is added.

    The configuration is kept as it is now; the streams are listed when the job starts.
    """
    return enqueue(build_request(workspace, options.with_absolute_paths()), priority)


def enqueue(request: RunRequest, priority: int = 0) -> str:
    """Add a request to the queue of its workspace and return the id of the job. Raises `UserError` as `submit` does."""
    root = request.workspace.root
    control_token.check(root)
    prepare(request)
    request.workspace.create()
    job_id = new_job_id()
    data = {"request": request.as_data(), "priority": priority, "pause_after": request.pause_after}
    JobLog(root, job_id).add("submitted", data, after=0)
    return job_id
