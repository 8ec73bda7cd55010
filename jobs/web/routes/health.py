"""Whether the server is up, and whether it can be used."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from jobs.core.errors import UserError
from jobs.web.identity import Accounts
from jobs.web.problems import problem
from jobs.web.version import build, version

router = APIRouter(tags=["server"])


@router.get("/health", name="health")
def health() -> Any:
    """Return that the process is up."""
    return {"status": "ok"}


@router.get("/ready", name="ready")
def ready(request: Request, database: Accounts) -> Any:
    """Return 200 where accounts can be written and projects read and the lock is held, else 503 with what is wrong."""
    problems = []
    lock = request.app.state.lock
    if lock is not None and lock.lost:
        problems.append("another server may serve this by now: the lock was lost")
    try:
        database.write(lambda _: None)
        request.app.state.projects.all()
    except (UserError, OSError):
        # People without an account learn that it is not ready, and no paths.
        problems.append("accounts or projects cannot be used; the server's log and its pages say why")
    if problems:
        return problem(503, problems, 1)
    return {"status": "ready", "version": version(), "build": build()}
