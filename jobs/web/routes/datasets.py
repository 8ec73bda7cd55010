"""Selections, releases and exports: made by jobs, listed, compared, and downloaded."""

from __future__ import annotations

from typing import Annotated, Any

import pyarrow.compute as pc
from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse
from pydantic import Field

import schemas
from jobs.dispatch import tasks
from jobs.dispatch.task_options import ExportOptions, MapOptions, ReleaseOptions, SelectOptions, TaskOptions
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.web.overviews import jobs_of_project
from jobs.web.plain import utc
from jobs.web.problems import GoneError, MissingError, StateConflictError
from jobs.web.routes.bodies import Body
from jobs.web.routes.jobs import workspace_of

router = APIRouter(prefix="/projects/{project}", tags=["datasets"])

Priority = Annotated[int, Field(ge=-1000, le=1000)]
ReleaseName = Annotated[str, Query(min_length=1, max_length=200)]


class NewMap(Body):
    """A map that a job is to compute."""

    options: MapOptions
    priority: Priority = 0


class NewSelection(Body):
    """A selection that a job is to make."""

    options: SelectOptions
    priority: Priority = 0


class NewRelease(Body):
    """A release that a job is to make."""

    options: ReleaseOptions
    priority: Priority = 0


class NewExport(Body):
    """An export that a job is to make."""

    options: ExportOptions
    priority: Priority = 0


@router.get("/selections", name="list_selections")
def list_selections(project: str, request: Request) -> Any:
    """Return the selections, by name: how many frames of how many streams, and how they were chosen."""
    columns = ("selection", "strategy", "stream_id", "created_ns")
    rows = _store(request, project).read(schemas.SELECTIONS, columns).group_by("selection")
    facts = [([], "count_all"), ("strategy", "min"), ("stream_id", "count_distinct"), ("created_ns", "max")]
    return {
        "selections": [
            {
                "name": row["selection"],
                "frames": row["count_all"],
                "strategy": row["strategy_min"],
                "streams": row["stream_id_count_distinct"],
                "created_at": utc(row["created_ns_max"]),
            }
            for row in rows.aggregate(facts).sort_by("selection").to_pylist()
        ]
    }


@router.post("/selections", name="add_selection", status_code=201)
def add_selection(project: str, body: NewSelection, request: Request) -> Any:
    """Put into the queue that a selection is made, as `winnow select` makes it."""
    return _submitted(request, project, body.options, body.priority)


@router.post("/maps", name="add_map", status_code=201)
def add_map(project: str, body: NewMap, request: Request) -> Any:
    """Put into the queue that places of frames on a plane are computed, as `winnow map` does."""
    return _submitted(request, project, body.options, body.priority)


@router.get("/releases", name="list_releases")
def list_releases(project: str, request: Request) -> Any:
    """Return the releases, oldest first."""
    columns = ("name", "note", "job_id", "created_ns")
    rows = _store(request, project).read(schemas.RELEASES, columns).sort_by("created_ns").to_pylist()
    return {"releases": [{**row, "created_at": utc(row.pop("created_ns"))} for row in rows]}


@router.post("/releases", name="add_release", status_code=201)
def add_release(project: str, body: NewRelease, request: Request) -> Any:
    """Put into the queue that a release is made of the current version, or of a run. 409 for a name in use."""
    rows = _store(request, project).read(schemas.RELEASES, ("name",))
    if pc.any(pc.equal(rows["name"], body.options.name)).as_py():
        raise StateConflictError(f"release {body.options.name!r} exists; releases never change, choose another name")
    return _submitted(request, project, body.options, body.priority)


@router.get("/releases/diff", name="diff_releases")
def diff_releases(project: str, request: Request, before: ReleaseName, after: ReleaseName) -> Any:
    """Return how two releases differ: frames added, gone, changed, newly kept or dropped, and labels."""
    from jobs.datasets import release
    from jobs.datasets.label_diff import label_difference
    from jobs.views.view import View

    workspace = workspace_of(request, project)
    views = View.of(workspace, release=before), View.of(workspace, release=after)
    found = release.difference(*views).values()
    return {"before": before, "after": after, **found, "labels": label_difference(*views)}


@router.get("/exports", name="list_exports")
def list_exports(project: str, request: Request) -> Any:
    """Return the jobs that make exports, the newest first, and whether the file of each is there."""
    workspace = workspace_of(request, project)
    with jobs_of_project(request, project, workspace) as known:
        found = [row for row in known.summaries() if row["kind"] == "export"]
    return {"exports": [{**row, "is_there": _is_there(workspace, row["job_id"])} for row in reversed(found)]}


@router.post("/exports", name="add_export", status_code=201)
def add_export(project: str, body: NewExport, request: Request) -> Any:
    """Put into the queue that a dataset is exported into a file to download."""
    return _submitted(request, project, body.options, body.priority)


@router.get("/exports/{job_id}/download", name="download_export")
def download_export(project: str, job_id: str, request: Request) -> Any:
    """Return the file of an export, or parts of it (Range). 409 where it is not done, 410 where it was deleted."""
    workspace = workspace_of(request, project)
    with jobs_of_project(request, project, workspace) as known:
        job = known.find(job_id)
    if job is None or job.kind != "export":
        raise MissingError(f"there is no export {job_id[:100]!r}")
    if job.state.state != "done":
        raise StateConflictError(f"export {job_id} is {job.state.state}")
    if not _is_there(workspace, job_id):
        raise GoneError(f"the file of export {job_id} was deleted; export again")
    file = tasks.exported_file(workspace.root, job_id)
    name = f"{project}-{job_id}.zip"
    return FileResponse(
        file, media_type="application/zip", filename=name, headers={"cache-control": "private, no-cache"}
    )


@router.delete("/exports/{job_id}", name="delete_export", status_code=204)
def delete_export(project: str, job_id: str, request: Request) -> None:
    """Delete the file of an export; what it was made of stays, and the record of the job."""
    workspace = workspace_of(request, project)
    with jobs_of_project(request, project, workspace) as known:
        job = known.find(job_id)
    if job is None or job.kind != "export":
        raise MissingError(f"there is no export {job_id[:100]!r}")
    if workspace.root.on_disk() is not None:
        tasks.exported_file(workspace.root, job_id).unlink(missing_ok=True)


def _submitted(request: Request, project: str, options: TaskOptions, priority: int) -> dict[str, str]:
    # Selections, releases and exports have all that people have approved until now.
    request.app.state.reviews.publish(project)
    return {"job_id": tasks.submit(workspace_of(request, project), options, priority)}


def _store(request: Request, project: str) -> Store:
    return Store(workspace_of(request, project).require().root)


def _is_there(workspace: Workspace, job_id: str) -> bool:
    return workspace.root.on_disk() is not None and tasks.exported_file(workspace.root, job_id).is_file()
