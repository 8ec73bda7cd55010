"""`winnow job`."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.cli.commands import Commands
from jobs.cli.options import JsonOption, RayOption, WorkspaceOption

if TYPE_CHECKING:
    from jobs.records.job_log import JobState
    from jobs.records.run_record import RunRecord
    from jobs.runs.control import Job
    from jobs.runs.prepare import RunRequest
    from jobs.storage.workspace import Workspace

app = Commands(help="Pause, resume, step, cancel, clear, replay and retry jobs.")

IdArgument = Annotated[
    str, typer.Argument(metavar="ID", help="Id of the job, its beginning, or `last`.", show_default=False)
]
WaitOption = Annotated[float, typer.Option(min=0, help="Wait so many seconds for the job to do it.", metavar="SECONDS")]


@app.command()
def pause(
    job_id: IdArgument, workspace: WorkspaceOption = None, wait: WaitOption = 10.0, as_json: JsonOption = False
) -> None:
    """Ask a job to commit what it has in hand, free its cores and pause.

    It stays paused, whatever is started anew, until it is resumed.

    Example: winnow job pause 20261121-020000-123abcd
    """
    from jobs.runs import control

    job = _find(workspace, job_id)
    control.pause(job)
    _tell(job, control.wait(job, {"paused"}, wait), as_json)


@app.command()
def resume(
    job_id: IdArgument,
    workspace: WorkspaceOption = None,
    ray_address: RayOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go on with a job that was paused or has failed: here, or by a gateway if it is of the queue.

    Inputs and settings are those it was started with; nothing is computed twice. If the cluster that it ran on is gone,
    name another, or --ray-address local.

    Example: winnow job resume 20261121-020000-123abcd
    """
    from jobs.runs import control

    job = _taken_back(_find(workspace, job_id))
    state = control.resume(job)
    _go_on(job, state, ray_address, as_json)


@app.command()
def step(
    job_id: IdArgument,
    workspace: WorkspaceOption = None,
    ray_address: RayOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run one stage of a paused job, and pause again; all that read pixels are one stage, `measure`.

    A running job pauses when it is through with the stage that it is at.

    Example: winnow job step 20261121-020000-123abcd
    """
    from jobs.runs import control

    job = _taken_back(_find(workspace, job_id))
    state = control.step(job)
    _go_on(job, state, ray_address, as_json, one_stage=True)


@app.command("pause-after")
def pause_after(
    stage: Annotated[str, typer.Argument(help="Name of the stage.", show_default=False)],
    job_id: IdArgument,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask a job to pause when it is through with a stage.

    Example: winnow job pause-after duplicates 20261121-020000-123abcd
    """
    from jobs.runs import control

    job = _find(workspace, job_id)
    _tell(job, control.pause_after(job, stage), as_json)


@app.command()
def cancel(
    job_id: IdArgument, workspace: WorkspaceOption = None, wait: WaitOption = 10.0, as_json: JsonOption = False
) -> None:
    """End a job for good. What it committed stays, and later runs find it done.

    Example: winnow job cancel 20261121-020000-123abcd
    """
    from jobs.runs import control

    job = _find(workspace, job_id)
    control.cancel(job)
    _tell(job, control.wait(job, {"cancelled"}, wait), as_json)


@app.command()
def clear(job_id: IdArgument, workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Forget a job that is over: its records and its rows in runs and stage_runs. What it computed stays.

    Refused while a head, a release or a child run refers to it.

    Example: winnow job clear 20261121-020000-123abcd
    """
    from jobs.cli.show import out, print_json
    from jobs.runs import job_rows

    job = _find(workspace, job_id)
    job_rows.clear(job)
    if as_json:
        print_json({"job_id": job.job_id, "cleared": True})
    else:
        out.print(f"job {job.job_id} is cleared")


@app.command()
def replay(
    job_id: IdArgument,
    start: Annotated[str, typer.Option("--from", help="First stage to compute anew.", metavar="STAGE")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change one value, as in --set blur.laplacian=40. Repeat.")
    ] = None,
    promote: Annotated[bool, typer.Option("--promote", help="Let the tables show the result when it is done.")] = False,
    workspace: WorkspaceOption = None,
    ray_address: RayOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a child of a run: from one stage on with other settings, all above taken as it is.

    The tables go on showing what they showed, unless --promote; read the child with --run ID. Frames are those that
    were listed last; folders are not looked at.

    Example: winnow job replay 20261121-020000-123abcd --from curation --set curation.dark_mean=20
    """
    from jobs.runs import replay

    _run(replay.replay(_guarded(workspace), job_id, start, settings or (), promote), ray_address, as_json)


@app.command("replay-stage")
def replay_stage(
    job_id: IdArgument,
    stage: Annotated[str, typer.Argument(help="Name of the stage.", show_default=False)],
    workspace: WorkspaceOption = None,
    ray_address: RayOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compute one stage of a run again, although it is done, and say whether the rows came out the same.

    A stage that reads pixels measures its frames anew; groups of duplicates are found from scratch. Rows that differ
    take the place of the old ones. Exits with 1 if there are any.

    Example: winnow job replay-stage 20261121-020000-123abcd quality
    """
    from jobs.cli.show import out
    from jobs.runs import replay

    record = _run(replay.again(_guarded(workspace), job_id, stage), ray_address, as_json)
    rows, changed = record.counts["rows"], record.counts["rows_changed"]
    if not as_json:
        out.print(f"{stage}: {rows:,} rows, {f'{changed:,} differ' if changed else 'all the same'}")
    if changed:
        raise typer.Exit(1)


class Only(StrEnum):
    """What of a run is tried again."""

    quarantined = "quarantined"


@app.command()
def retry(
    job_id: IdArgument,
    only: Annotated[Only | None, typer.Option(help="Try only such frames, in a child run.", show_default=False)] = None,
    workspace: WorkspaceOption = None,
    ray_address: RayOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go on with a job that has failed; or try the frames again that it set aside, and what depends on them.

    Example: winnow job retry 20261121-020000-123abcd --only quarantined
    """
    from jobs.runs import replay

    if only is None:
        resume(job_id, workspace, ray_address, as_json)
        return
    _run(replay.retry(_guarded(workspace), job_id), ray_address, as_json)


def _run(request: RunRequest, ray_address: str | None, as_json: bool) -> RunRecord:
    from dataclasses import replace

    from jobs.cli.run import execute, print_record

    record = execute(replace(request, ray_address=_address(ray_address, request)), as_json)
    if request.replay is None or not request.replay.again or as_json:
        print_record(record, request, as_json)
    return record


def _guarded(workspace: str | None) -> Workspace:
    """Return a workspace whose jobs may be controlled. Raises `UserError` where its token is not at hand."""
    from jobs.dispatch import control_token
    from jobs.storage.workspace import Workspace

    place = Workspace.at(workspace).require()
    control_token.check(place.root)
    return place


def _find(workspace: str | None, job_id: str) -> Job:
    from jobs.runs import control

    return control.find(_guarded(workspace), job_id)


def _is_of_ray(job: Job) -> bool:
    return any(record.data.get("to") == "ray" for record in job.inbox.records() if record.word == "submitted")


def _taken_back(job: Job) -> Job:
    """Return a job, after noting down that the cluster it was handed to is not heard of any more, if that is so."""
    if _is_of_ray(job):
        from jobs.dispatch.ray_jobs import fail_if_dead

        fail_if_dead(job.workspace.root, job.job_id)
    return job


def _go_on(job: Job, state: JobState, ray_address: str | None, as_json: bool, one_stage: bool = False) -> None:
    """Run a job that nobody else will."""
    from dataclasses import replace

    from jobs.cli.run import execute, print_record
    from jobs.runs import replay

    if state.queued or state.state == "running":
        if _is_of_ray(job):
            from jobs.dispatch.ray_jobs import resubmit

            resubmit(job.workspace.root, job.job_id, ray_address)
        _tell(job, state, as_json)
        return
    request = replay.of_job(job.workspace, job.job_id)
    request = replace(request, ray_address=_address(ray_address, request), one_stage=one_stage)
    print_record(execute(request, as_json, job.job_id), request, as_json)


def _address(given: str | None, request: RunRequest) -> str | None:
    """Return the cluster to run on: the one that is named now, or that was then; `local` stands for none."""
    named = given or request.ray_address
    return None if named == "local" else named


def _tell(job: Job, state: JobState, as_json: bool) -> None:
    from jobs.cli.show import out, print_json

    asked = state.request.word if state.request else None
    if as_json:
        print_json({"job_id": job.job_id, "state": state.state, "request": asked})
        return
    after = f" {state.request.data['stage']}" if state.request and "stage" in state.request.data else ""
    out.print(f"job {job.job_id} is {state.state}{f', asked: {asked}{after}' if asked else ''}")
