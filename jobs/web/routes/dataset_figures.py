"""What is in selections, releases and exports, how releases differ frame by frame, and deleting them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, cast, get_args

from fastapi import APIRouter, Query, Request
from pydantic import Field

import schemas
from jobs.core.choices import Balance, CompareBy, SplitBy
from jobs.core.errors import UserError
from jobs.dispatch import tasks
from jobs.dispatch.task_commands import command_of
from jobs.dispatch.task_options import ExportOptions, ReleaseOptions, SelectOptions, check, parse
from jobs.records.job_log import JobLog
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.web.identity import Me
from jobs.web.overviews import jobs_of_project
from jobs.web.plain import plain, utc
from jobs.web.problems import MissingError
from jobs.web.release_differences import Change, ReleaseDifferences
from jobs.web.routes.bodies import Body
from jobs.web.routes.jobs import workspace_of
from jobs.web.routes.project_parts import Data
from transforms.curate.strategy import STRATEGIES

router = APIRouter(prefix="/projects/{project}", tags=["datasets"])

_MOST_RUNS = 200

ReleaseName = Annotated[str, Query(min_length=1, max_length=200)]


class SelectCommand(Body):
    """A selection to make in a terminal."""

    kind: Literal["select"]
    options: SelectOptions


class ReleaseCommand(Body):
    """A release to make in a terminal."""

    kind: Literal["release"]
    options: ReleaseOptions


class ExportCommand(Body):
    """An export to make in a terminal."""

    kind: Literal["export"]
    options: ExportOptions


Command = Annotated[SelectCommand | ReleaseCommand | ExportCommand, Field(discriminator="kind")]


@router.get("/datasets/choices", name="dataset_choices")
def show_choices(data: Data) -> Any:
    """Return what forms of selections, releases and exports offer: formats, classes, names in use."""
    from jobs.datasets.export_formats import FORMATS
    from jobs.datasets.label_diff import class_counts
    from jobs.datasets.release import free_name

    shown = data.shown()
    store = shown.store
    runs = store.read(schemas.RUNS, ("job_id", "profile", "state")).to_pylist()
    return {
        "formats": [
            {
                "name": name,
                "media": [mode for mode in each.allowed if mode != "link"],
                "default_media": each.media,
                "needs_masks": each.by_masks,
            }
            for name, each in FORMATS.items()
        ],
        "split_by": _values(SplitBy),
        "strategies": list(STRATEGIES),
        "balance": _values(Balance),
        "by": _values(CompareBy),
        "classes": shown.result("class_counts", lambda: class_counts(shown.view)),
        "runs": sorted((row["job_id"] for row in runs if row["state"] == "done"), reverse=True)[:_MOST_RUNS],
        "release_name": free_name(store),
        "can_export": store.root.on_disk() is not None,
    }


@router.post("/datasets/command", name="dataset_command")
def show_command(project: str, body: Command, who: Me, request: Request) -> Any:
    """Return the command that does the same in a terminal. 400, with every reason, for options that cannot be right."""
    workspace = workspace_of(request, project).require()
    check(body.options, workspace.root)
    if not isinstance(body.options, ReleaseOptions) and body.options.where is not None:
        _check_condition(workspace, body.options)
    # Where a workspace is says more of the machine than members of a project need.
    return {"command": command_of(body.options, str(workspace.root) if who.is_admin else project)}


@router.delete("/selections/{name}", name="delete_selection", status_code=204)
def delete_selection(project: str, name: str, request: Request) -> None:
    """Delete a selection; releases keep theirs. 404 for an unknown one."""
    from jobs.datasets import frame_sampling

    _deleted(lambda store: frame_sampling.delete_selection(store, name), _store(request, project))


@router.get("/releases/{name}/figures", name="show_release")
def show_release(project: str, name: str, request: Request) -> Any:
    """Return what is in a release: frames by reason, objects by class, reviews, how its splits leak, what uses it."""
    from jobs.datasets import release
    from jobs.datasets.label_diff import class_counts, reviewed_frames
    from jobs.datasets.split_report import reports_of_release
    from jobs.views.curation_counts import verdicts
    from jobs.views.snapshot_spec import find_release
    from jobs.views.view import View

    store = _store(request, project)
    try:
        row = find_release(store, name)
    except UserError as error:
        raise MissingError(error.problems) from error
    view = View.of(workspace_of(request, project), release=name)
    found = verdicts(view)
    return {
        "name": name,
        "note": row["note"],
        "job_id": row["job_id"],
        "created_at": utc(row["created_ns"]),
        "frames": found.frames,
        "kept": found.kept,
        "reasons": found.reasons,
        "classes": class_counts(view),
        "reviewed_frames": reviewed_frames(view),
        "splits": [{"seed": seed, **plain(each)} for seed, each in reports_of_release(store, view).items()],
        "references": release.references(store, name),
    }


@router.delete("/releases/{name}", name="delete_release", status_code=204)
def delete_release(project: str, name: str, request: Request) -> None:
    """Delete a release; exports, splits and selections that were made of it stay. 404 for an unknown one."""
    from jobs.datasets import release

    _deleted(lambda store: release.delete(store, name), _store(request, project))


@router.get("/releases/diff/frames", name="diff_release_frames")
def diff_frames(
    project: str,
    request: Request,
    before: ReleaseName,
    after: ReleaseName,
    change: Change,
    category: Annotated[str | None, Query(min_length=1, max_length=500)] = None,
    start: Annotated[int, Query(ge=0, lt=2**53)] = 0,
    limit: Annotated[int, Query(ge=1, le=200)] = 60,
) -> Any:
    """Return frames with a change between two releases, as both show them; objects that changed are marked.

    Changes of objects may be those of one class alone.
    """
    differences = cast("ReleaseDifferences", request.app.state.differences)
    found = differences.of(workspace_of(request, project), before, after)
    total, frames = found.page(change, category, start, limit)
    return {"total": total, "start": start, "frames": frames}


@router.get("/exports/{job_id}", name="show_export")
def show_export(project: str, job_id: str, who: Me, request: Request) -> Any:
    """Return the options of an export, its figures where it is done, and the command that does the same."""
    workspace = workspace_of(request, project)
    with jobs_of_project(request, project, workspace) as known:
        job = known.find(job_id)
        if job is None or job.kind != "export":
            raise MissingError(f"there is no export {job_id[:100]!r}")
        row = known.summary(job)
        # Records of jobs that are over are kept without their options.
        submitted = JobLog(workspace.root, job.job_id).records()[0].data
    on_disk = workspace.root.on_disk() is not None
    try:
        options = parse("export", submitted.get("task", {}))
    except UserError:
        # Of another version, that is.
        options = None
    where = str(workspace.root) if who.is_admin else project
    return {
        **row,
        "is_there": on_disk and tasks.exported_file(workspace.root, job_id).is_file(),
        "options": None if options is None else options.model_dump(mode="json"),
        "figures": plain(tasks.figures_of(workspace.root, job_id)) if on_disk else None,
        "command": None if options is None else command_of(options, where),
    }


def _check_condition(workspace: Workspace, options: SelectOptions | ExportOptions) -> None:
    """Raise `UserError` for a condition that names what is not there, without reading a frame."""
    from jobs.datasets.export import condition_on_frames
    from jobs.views.statement import check_condition
    from jobs.views.view import View

    where = options.where or ""
    check_condition(where)
    condition = condition_on_frames(where) if isinstance(options, ExportOptions) else f"({where})"
    view = View.of(workspace, options.run, options.release)
    view.sql(f"SELECT 1 FROM curated WHERE {condition} LIMIT 0")


def _deleted(delete: Callable[[Store], None], store: Store) -> None:
    try:
        delete(store)
    except UserError as error:
        raise MissingError(error.problems) from error


def _values(choices: Any) -> list[str]:
    return list(get_args(choices))


def _store(request: Request, project: str) -> Store:
    return Store(workspace_of(request, project).require().root)
