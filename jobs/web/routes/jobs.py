"""Jobs: the queue, one job live, its journal, requests to it, replays, new runs, schedules and the gateway.

All of it is in records that the command line writes and reads too; a server runs none of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import Field

from jobs.core.errors import UnknownJobError
from jobs.dispatch import daemon, job_control, schedule_commands
from jobs.dispatch import submit as queue
from jobs.dispatch.job_control import ControlResult
from jobs.dispatch.overview import gateway
from jobs.records.job_log import jobs_of
from jobs.runs.run_options import RunOptions
from jobs.storage.workspace import Workspace
from jobs.web import job_views, submissions
from jobs.web.descent import current_runs, descent_of
from jobs.web.identity import Me
from jobs.web.journals import Filter, Level
from jobs.web.overviews import jobs_of_project
from jobs.web.plain import plain
from jobs.web.problems import ForbiddenError, MissingError
from jobs.web.routes.bodies import Body, Name

router = APIRouter(prefix="/projects/{project}", tags=["jobs"])

Setting = Annotated[str, Field(min_length=1, max_length=2000)]


class StateSeen(Body):
    """The number of the job's last record that somebody has seen; the request is refused where there is a newer one."""

    number: int | None = None


class PauseAfter(Body):
    """A stage after which a job is to pause."""

    stage: Name


class ReplayFrom(Body):
    """A replay of a run from a stage on, with other settings; promoted, it becomes the current version."""

    start: Name
    settings: Annotated[tuple[Setting, ...], Field(max_length=200)] = ()
    promote: bool = False


class NewRun(Body):
    """The options of a run, and its place in the queue."""

    options: RunOptions
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0


class NewSchedule(Body):
    """A schedule: when, and what to run."""

    name: Name
    cron: Annotated[str, Field(min_length=1, max_length=500)]
    tz: Annotated[str, Field(max_length=100)] = "UTC"
    options: RunOptions
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0


def workspace_of(request: Request, project: str) -> Workspace:
    """Return the workspace of a project. Raises `MissingError` for none of this name."""
    found: Workspace = request.app.state.projects.named(project).workspace()
    return found


@router.get("/jobs", name="list_jobs")
def list_jobs(project: str, request: Request) -> Any:
    """Return the gateway and all jobs, the newest first."""
    workspace = workspace_of(request, project)
    with jobs_of_project(request, project, workspace) as found:
        jobs = found.summaries()
    return {"gateway": _gateway(workspace), "jobs": jobs[::-1]}


@router.get("/jobs/{job_id}", name="get_job")
def get_job(project: str, job_id: str, request: Request) -> Any:
    """Return one job with its stages and its configuration."""
    workspace = workspace_of(request, project)
    with jobs_of_project(request, project, workspace) as known:
        job = known.find(job_id)
        if job is None:
            raise MissingError(f"there is no job {job_id[:100]!r}")
        row = _row_of(workspace, job_id)
        return {
            **known.summary(job),
            "replay": descent_of(workspace, job_id),
            "seen": request.app.state.seen.shown(workspace, job_id, known.overview.progress(job_id).seen),
            "stages": job_views.stages(known.overview, job_id, row.get("stages", {})),
            **{name: row.get(name) for name in ("config", "frames", "seconds", "streams", "versions", "environment")},
        }


@router.get("/jobs/{job_id}/journal", name="get_journal")
def get_journal(
    project: str,
    job_id: str,
    request: Request,
    after: Annotated[int, Query(ge=0, lt=2**53)] = 0,
    limit: Annotated[int, Query(ge=1, le=2000)] = 500,
    stage: Annotated[str | None, Query(max_length=100)] = None,
    errors: bool = False,
    start: Annotated[int | None, Query(ge=0, lt=2**53)] = None,
    level: Level = "detail",
    text: Annotated[str, Query(max_length=200)] = "",
) -> Any:
    """Return what a job wrote down, from a number on.

    With `start`, the events from a position on, among those of a stage, of a level or above and with a text in them:
    a list whose length, `total`, is known, and of which any part can be fetched.
    """
    workspace = workspace_of(request, project)
    require_job(workspace, job_id)
    if start is not None:
        wanted = Filter(stage, "warning" if errors and level in {"detail", "step"} else level, text)
        return request.app.state.journals.page(workspace.root, job_id, start, limit, wanted)
    return request.app.state.journals.events(workspace.root, job_id, after, limit, stage, errors)


@router.post("/jobs/{job_id}/pause", name="pause_job")
def pause(project: str, job_id: str, body: StateSeen, request: Request) -> Any:
    """Ask a job to pause. 409 for one that is over, or is not as it was seen."""
    return _control(request, project, job_id, lambda w: job_control.pause(w, job_id, after=body.number))


@router.post("/jobs/{job_id}/cancel", name="cancel_job")
def cancel(project: str, job_id: str, body: StateSeen, request: Request) -> Any:
    """Ask a job to end for good. 409 for one that is over, or is not as it was seen."""
    return _control(request, project, job_id, lambda w: job_control.cancel(w, job_id, after=body.number))


@router.post("/jobs/{job_id}/stop", name="stop_job")
def stop(project: str, job_id: str, body: StateSeen, request: Request) -> Any:
    """Ask a training to end as done with the best epoch so far. 409 for another job, or one that is over."""
    return _control(request, project, job_id, lambda w: job_control.stop(w, job_id, after=body.number))


@router.post("/jobs/{job_id}/resume", name="resume_job")
def resume(project: str, job_id: str, body: StateSeen, request: Request) -> Any:
    """Have a gateway continue a job that is paused or has failed, also one that the command line started."""
    return _control(request, project, job_id, lambda w: job_control.resume(w, job_id, after=body.number))


@router.post("/jobs/{job_id}/step", name="step_job")
def step(project: str, job_id: str, body: StateSeen, request: Request) -> Any:
    """Have a job run one stage more and pause."""
    return _control(request, project, job_id, lambda w: job_control.step(w, job_id, after=body.number))


@router.post("/jobs/{job_id}/pause-after", name="pause_job_after")
def pause_after(project: str, job_id: str, body: PauseAfter, request: Request) -> Any:
    """Ask a job to pause after a stage."""
    return _control(request, project, job_id, lambda w: job_control.pause_after(w, job_id, body.stage))


@router.post("/jobs/{job_id}/clear", name="clear_job", status_code=204)
def clear(project: str, job_id: str, request: Request) -> None:
    """Delete the records of a job that is over and that nothing refers to; what it computed stays."""
    workspace = workspace_of(request, project)
    require_job(workspace, job_id)
    job_control.clear(workspace, job_id)


@router.post("/jobs/{job_id}/replay", name="replay_job", status_code=201)
def replay(project: str, job_id: str, body: ReplayFrom, who: Me, request: Request) -> Any:
    """Put a replay of a run into the queue. 400 for settings that would change what comes before the stage."""
    if not who.is_admin and (wrong := list(submissions.wrong_settings(body.settings))):
        raise ForbiddenError(wrong)
    workspace = workspace_of(request, project)
    require_job(workspace, job_id)
    asked = job_control.replay(workspace, job_id, body.start, body.settings, body.promote)
    if not who.is_admin and body.settings:
        unchanged = job_control.replay(workspace, job_id, body.start)
        submissions.refuse_services(asked.loaded.config, unchanged.loaded.config)
    return {"job_id": queue.enqueue(asked)}


@router.post("/jobs/{job_id}/replay-stage", name="replay_job_stage", status_code=201)
def replay_stage(project: str, job_id: str, body: PauseAfter, request: Request) -> Any:
    """Put into the queue that one stage of a run is recomputed from stored inputs."""
    workspace = workspace_of(request, project)
    require_job(workspace, job_id)
    return {"job_id": queue.enqueue(job_control.replay_stage(workspace, job_id, body.stage))}


@router.post("/jobs/{job_id}/retry", name="retry_job", status_code=201)
def retry(project: str, job_id: str, request: Request) -> Any:
    """Put into the queue that the quarantined frames of a run are computed."""
    workspace = workspace_of(request, project)
    require_job(workspace, job_id)
    return {"job_id": queue.enqueue(job_control.retry_quarantined(workspace, job_id))}


@router.post("/jobs", name="add_job", status_code=201)
def add_job(project: str, body: NewRun, who: Me, request: Request) -> Any:
    """Put a run into the queue, after all checks that need no work."""
    workspace = workspace_of(request, project)
    submissions.check(workspace, body.options, who.is_admin)
    request.app.state.reviews.publish(project)
    return {"job_id": queue.submit(str(workspace.root), body.options, body.priority)}


@router.post("/plan", name="plan_job")
def plan(project: str, body: NewRun, who: Me, request: Request) -> Any:
    """Return what each stage of a run would do and why, as `--dry-run` does; nothing is written.

    `seconds` is how long it may take, by what stages took here before: none where one never ran, in all those of the
    others, without the stages that `unknown` names.
    """
    from dataclasses import asdict

    from jobs.runs.dry_run import forecast
    from jobs.runs.expected_time import expected_seconds, in_all
    from jobs.runs.prepare import prepare
    from jobs.runs.run_options import build_request

    workspace = workspace_of(request, project)
    submissions.check(workspace, body.options, who.is_admin)
    prepared = prepare(build_request(str(workspace.root), body.options.with_absolute_paths()))
    found = forecast(prepared)
    seconds = expected_seconds(prepared.store, prepared.stages, found)
    return {
        "frames": prepared.n_frames,
        "streams": [{"stream_id": each.stream_id, "frames": each.n_frames} for each in prepared.streams],
        "stages": [{**asdict(stage), "seconds": seconds[stage.stage]} for stage in found],
        **in_all(prepared.stages, seconds),
    }


@router.get("/runs", name="list_runs")
def list_runs(project: str, request: Request) -> Any:
    """Return all runs, oldest first, each with its parent and the settings that differ from it: a tree.

    `current` has the runs whose rows the tables show, and of how many stages and streams.
    """
    from jobs.analysis import inspect_tables
    from jobs.storage.store import Store

    store = Store(workspace_of(request, project).require().root)
    return {"runs": inspect_tables.runs(store), "current": current_runs(store)}


@router.get("/runs/diff", name="diff_runs")
def diff_runs(
    project: str,
    request: Request,
    one: Annotated[str, Query(min_length=1, max_length=200)],
    other: Annotated[str, Query(min_length=1, max_length=200)],
    tolerance: Annotated[float, Query(ge=0)] = 0.0,
) -> Any:
    """Return how two finished runs differ: settings, and the rows of every stage."""
    from jobs.analysis.run_diff import run_diff
    from jobs.storage.store import Store

    return run_diff(Store(workspace_of(request, project).require().root), one, other, tolerance)


@router.get("/runs/diff/frames", name="diff_run_frames")
def diff_run_frames(
    project: str,
    request: Request,
    one: Annotated[str, Query(min_length=1, max_length=200)],
    other: Annotated[str, Query(min_length=1, max_length=200)],
    table: Annotated[str, Query(min_length=1, max_length=100)] = "curation",
    start: Annotated[int, Query(ge=0, lt=2**53)] = 0,
    limit: Annotated[int, Query(ge=0, le=500)] = 100,
) -> Any:
    """Return the frames in which two finished runs differ: of verdicts those that changed sides."""
    from jobs.analysis.changed_frames import changed_frames
    from jobs.storage.store import Store

    frames = changed_frames(Store(workspace_of(request, project).require().root), one, other, table)
    return {"table": table, "total": len(frames), "start": start, "frames": plain(frames[start : start + limit])}


@router.get("/schedules", name="list_schedules")
def list_schedules(project: str, request: Request) -> Any:
    """Return the schedules with their next times and last jobs."""
    return {"schedules": schedule_commands.listed(workspace_of(request, project).require().root)}


@router.post("/schedules", name="add_schedule", status_code=201)
def add_schedule(project: str, body: NewSchedule, who: Me, request: Request) -> Any:
    """Keep a schedule."""
    workspace = workspace_of(request, project)
    submissions.check(workspace, body.options, who.is_admin)
    return schedule_commands.add(str(workspace.root), body.name, body.cron, body.tz, body.options, body.priority)


@router.delete("/schedules/{name}", name="remove_schedule", status_code=204)
def remove_schedule(project: str, name: str, request: Request) -> None:
    """Delete a schedule; its jobs and releases stay."""
    schedule_commands.remove(workspace_of(request, project).require().root, name)


@router.post("/schedules/{name}/run", name="run_schedule", status_code=201)
def run_schedule(project: str, name: str, request: Request) -> Any:
    """Put the job of a schedule into the queue now."""
    return {"job_id": schedule_commands.run_now(workspace_of(request, project).require().root, name)}


@router.post("/gateway/{action}", name="control_gateway")
def control_gateway(project: str, action: Literal["start", "stop"], request: Request) -> Any:
    """Start or stop the process that runs queued jobs."""
    workspace = workspace_of(request, project)
    if action == "start":
        daemon.start(workspace.require().root, ())
    else:
        daemon.stop(workspace.require().root)
    return {"gateway": _gateway(workspace)}


def _control(request: Request, project: str, job_id: str, ask: Callable[[Workspace], ControlResult]) -> Any:
    workspace = workspace_of(request, project)
    require_job(workspace, job_id)
    return job_control.leave_to_gateway(workspace, ask(workspace)).values()


def require_job(workspace: Workspace, job_id: str) -> None:
    """Raise `MissingError` for an id that is not exactly that of a job: pages name no beginnings, and no `last`."""
    if job_id not in set(jobs_of(workspace.require().root)):
        raise MissingError(f"there is no job {job_id[:100]!r}")


def _row_of(workspace: Workspace, job_id: str) -> dict[str, Any]:
    """Return what the tables say of a run; nothing for a job that has not begun."""
    from jobs.analysis import inspect_tables
    from jobs.storage.store import Store

    try:
        return inspect_tables.job(Store(workspace.root), job_id)
    except UnknownJobError:
        return {}


def _gateway(workspace: Workspace) -> dict[str, Any] | None:
    found = gateway(workspace.root)
    return {name: found.get(name) for name in ("pid", "host", "since_ns")} if found else None
