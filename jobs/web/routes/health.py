"""Whether the server is up, and whether it can be used."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from jobs.core.errors import UserError
from jobs.web.identity import Accounts
from jobs.web.problems import problem
from jobs.web.projects import Projects
from jobs.web.version import build, version

router = APIRouter(tags=["server"])


@router.get("/health", name="health")
def health() -> Any:
    """Return that the process is up."""
    return {"status": "ok"}


@router.get("/ready", name="ready")
def ready(request: Request, database: Accounts) -> Any:
    """Return 200 where accounts can be written and a project used and the lock is held, else 503 with what is wrong.

    One project of several that cannot be used leaves the others ready, and is counted.
    """
    problems = []
    lock = request.app.state.lock
    if lock is not None and lock.lost:
        problems.append("another server may serve this by now: the lock was lost")
    try:
        database.write(lambda _: None)
    except (UserError, OSError):
        # People without an account learn that it is not ready, and no paths.
        problems.append("accounts cannot be written; the server's log and its pages say why")
    projects: Projects = request.app.state.projects
    unusable = projects.unusable()
    if unusable and len(unusable) >= _count(projects):
        problems.append("no project can be used: a workspace was moved, or is of a newer version; its pages say which")
    if problems:
        return problem(503, problems, 1)
    return {"status": "ready", "version": version(), "build": build(), "unusable_projects": len(unusable)}


def _count(projects: Projects) -> int:
    try:
        return len(projects.all())
    except UserError:
        return 0
