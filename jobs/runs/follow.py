"""Following a job from another process: new journal events and the state, until it ends or pauses."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from jobs.records.job_log import seen
from jobs.records.journal import JournalReader
from jobs.runs.job_requests import find
from jobs.storage import paths
from jobs.storage.workspace import Workspace

EVERY_S = 0.5
_EVERY_FAR_S = 2.0

EXIT_CODES = {"done": 0, "failed": 1, "paused": 4, "cancelled": 5}
"""The exit code of `winnow job watch`, by the state that it ended in."""


def follow_job(workspace: Workspace, job_id: str) -> Iterator[tuple[list[dict[str, Any]], str]]:
    """Yield the new events of a job's journal and the job's state, about twice a second, until it no longer runs.

    The last state is one of `EXIT_CODES`. A run that is not queued and whose process has ended counts as failed. Raises
    `UserError` for a job that does not exist.
    """
    job = find(workspace, job_id)
    journal = JournalReader(workspace.root, job.job_id)
    while True:
        # In this order: a job writes its events before its end.
        found = seen(job.job_log)
        state = "cancelled" if found is None else found.state
        yield list(journal.new()), state
        if state in EXIT_CODES:
            return
        time.sleep(paths.poll_interval_s(workspace.root, EVERY_S, _EVERY_FAR_S))


def duration(seconds: float) -> str:
    """Return a duration as text, as in `3 min 05 s`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min {rest:02} s"
