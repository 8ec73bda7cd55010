"""Follows a job from another process, until it has ended or waits for somebody."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from jobs.records.job_log import seen
from jobs.records.journal import Follower
from jobs.runs.control import find
from jobs.storage import paths
from jobs.storage.workspace import Workspace

EVERY_S = 0.5
_EVERY_FAR_S = 2.0

EXIT_CODES = {"done": 0, "failed": 1, "paused": 4, "cancelled": 5}
"""The exit code of `winnow job watch`, by the state that it ended in."""


def follow(workspace: Workspace, job_id: str) -> Iterator[tuple[list[dict[str, Any]], str]]:
    """Yield what is new in a job's journal and the job's state, about twice a second, until it runs no more.

    The last state is one of `EXIT_CODES`. A run that is not of the queue and whose process is gone has failed. Raises
    `UserError` for a job that does not exist.
    """
    job = find(workspace, job_id)
    journal = Follower(workspace.root, job.job_id)
    # A run of before there were records is given its first.
    job.state()
    while True:
        # In this order: what a job has to say is written before its end is.
        found = seen(job.inbox)
        state = "cancelled" if found is None else found.state
        yield list(journal.new()), state
        if state in EXIT_CODES:
            return
        time.sleep(paths.poll_interval_s(workspace.root, EVERY_S, _EVERY_FAR_S))


def duration(seconds: float) -> str:
    """Return a time that is left, as people say it."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min {rest:02} s"
