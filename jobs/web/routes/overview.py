"""The first page of a project: what there is, what was kept, what ran last, and what comes next."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from jobs.web.routes.project_parts import Data
from jobs.web.summaries import overview

router = APIRouter(tags=["frames"])


@router.get("/projects/{project}/overview", name="overview")
def show_overview(data: Data) -> Any:
    """Return counts of frames and reasons, the last runs and releases, and the next step."""
    return overview(data)
