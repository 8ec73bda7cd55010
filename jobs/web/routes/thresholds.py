"""Thresholds: what would change if they were others, by the stages' own functions; applied by a replay."""

from __future__ import annotations

from typing import Annotated, Any, cast

from fastapi import APIRouter, Query, Request
from pydantic import Field

import schemas
from jobs.core.errors import UserError
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.web.plain import number
from jobs.web.previews import SECTIONS, Previews, histograms, settings_of
from jobs.web.problems import MissingError
from jobs.web.routes.bodies import Body, Name
from jobs.web.routes.jobs import Setting, workspace_of

router = APIRouter(prefix="/projects/{project}/thresholds", tags=["thresholds"])


class Moved(Body):
    """Settings as they would be, of a run (the one that is shown, if none is named), and which changes to list."""

    run: Name | None = None
    settings: Annotated[tuple[Setting, ...], Field(max_length=200)] = ()
    start: Annotated[int, Field(ge=0, lt=2**53)] = 0
    limit: Annotated[int, Field(ge=0, le=500)] = 100


def previews_of(request: Request) -> Previews:
    """Return the previews of the server that got a request."""
    return cast("Previews", request.app.state.previews)


@router.get("", name="get_thresholds")
def get_thresholds(
    project: str, request: Request, run: Annotated[str | None, Query(min_length=1, max_length=200)] = None
) -> Any:
    """Return the settings that may be moved, with the values of a run, and histograms of the measures."""
    workspace = workspace_of(request, project)
    with previews_of(request).of(workspace, _shown_run(workspace, run)) as preview:
        # The first move of a slider then costs what the others do.
        preview.changes()
        return {
            "run": preview.job_id,
            "settings": settings_of(preview.config),
            "histograms": histograms(preview.measures()),
        }


@router.post("/preview", name="preview_thresholds")
def preview_thresholds(project: str, body: Moved, request: Request) -> Any:
    """Return how many frames would be kept and change, and some of those that would, as a replay then does.

    `start_stage` is the stage from which a replay with these settings starts; `command` does it in a terminal.
    """
    for setting in body.settings:
        if setting.partition(".")[0] not in SECTIONS:
            raise UserError(f"settings: expected settings of {', '.join(SECTIONS)}, found {setting[:80]!r}")
    workspace = workspace_of(request, project)
    with previews_of(request).of(workspace, _shown_run(workspace, body.run)) as preview:
        changes = preview.changes(body.settings)
        start = preview.first_changed(body.settings)
        job_id = preview.job_id
    counts = changes.counts()
    rows = changes.changed(body.start, body.limit).to_dicts()
    sets = [word for setting in body.settings for word in ("--set", setting)]
    return {
        "run": job_id,
        **counts,
        "changes": counts["newly_kept"] + counts["newly_dropped"],
        "start": body.start,
        "frames_changed": [{**row, "frame_idx": number(row["frame_idx"])} for row in rows],
        "start_stage": start,
        "command": ["winnow", "job", "replay", job_id, "--from", start, *sets, "--promote"] if start else None,
    }


def _shown_run(workspace: Workspace, run: str | None) -> str:
    """Return the run that is meant: the one named, else the newest one whose verdicts are shown."""
    if run is not None:
        return run
    heads = Store(workspace.require().root).read(schemas.HEADS, ("stage", "job_id")).to_pylist()
    jobs = [row["job_id"] for row in heads if row["stage"] == schemas.CURATION.written_by]
    if not jobs:
        raise MissingError("no run has decided about frames yet")
    return str(max(jobs))
