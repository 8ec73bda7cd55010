"""Submission of a job to the queue of a workspace, after a check that it can run."""

from __future__ import annotations

import os

from jobs.core.naming import new_job_id
from jobs.dispatch import control_token
from jobs.records.job_log import Inbox
from jobs.runs.prepare import prepare
from jobs.runs.run_options import Asked, requested


def submit(workspace: str | os.PathLike[str] | None, asked: Asked, priority: int = 0) -> str:
    """Add a job to the queue and return its id. Raises `UserError` with everything that is wrong, before it is added.

    The configuration is kept as it is now; the streams are listed when the job starts.
    """
    absolute = asked.elsewhere()
    request = requested(workspace, absolute)
    root = request.workspace.root
    control_token.check(root)
    prepare(request)
    request.workspace.create()
    job_id = new_job_id()
    data = {"request": request.as_data(), "priority": priority, "pause_after": request.pause_after}
    Inbox(root, job_id).add("submitted", data, after=0)
    return job_id
