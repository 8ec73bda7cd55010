"""Which job runs on this machine, so that nothing else takes a GPU from it."""

from __future__ import annotations

from threading import Lock

from jobs.core.errors import UserError
from jobs.core.processes import has_ended, is_here
from jobs.dispatch.job_queue import JobQueue
from jobs.web.projects import Projects


class RunningJobs:
    """The jobs of all projects of a server, as their records tell; safe for threads."""

    def __init__(self, projects: Projects) -> None:
        self._projects = projects
        self._queues: dict[str, JobQueue] = {}
        self._lock = Lock()

    def first_here(self) -> str | None:
        """Return the id of a job that a process of this machine runs now; None where there is none."""
        with self._lock:
            for project in self._projects.all():
                try:
                    queue = self._queues.setdefault(project.path, JobQueue(project.workspace().root))
                    jobs = queue.live()
                except (UserError, OSError):
                    # A project that cannot be read runs nothing that could be named.
                    continue
                for job in jobs:
                    holder = job.state.holder or {}
                    if job.state.state == "running" and is_here(holder) and not has_ended(holder):
                        return job.job_id
        return None
