"""`winnow job`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from jobs.cli.options import JsonOption, RayOption, WorkspaceOption

if TYPE_CHECKING:
    from jobs.control import Job
    from jobs.inbox import JobState

app = typer.Typer(help="Pause, resume, step, cancel and clear jobs.", no_args_is_help=True)

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of the job, or its beginning.", show_default=False)]
WaitOption = Annotated[float, typer.Option(min=0, help="Wait so many seconds for the job to do it.", metavar="SECONDS")]


@app.command()
def pause(
    job_id: IdArgument, workspace: WorkspaceOption = None, wait: WaitOption = 10.0, as_json: JsonOption = False
) -> None:
    """Ask a job to commit what it has in hand, free its cores and pause.

    It stays paused, whatever is started anew, until it is resumed.

    Example: winnow job pause 20261121-020000-123abcd
    """
    from jobs import control

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

    Inputs and settings are those it was started with; nothing is computed twice.

    Example: winnow job resume 20261121-020000-123abcd
    """
    from jobs import control

    job = _find(workspace, job_id)
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
    from jobs import control

    job = _find(workspace, job_id)
    state = control.step(job)
    _go_on(job, state, ray_address, as_json)


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
    from jobs import control

    job = _find(workspace, job_id)
    _tell(job, control.pause_after(job, stage), as_json)


@app.command()
def cancel(
    job_id: IdArgument, workspace: WorkspaceOption = None, wait: WaitOption = 10.0, as_json: JsonOption = False
) -> None:
    """End a job for good. What it committed stays, and later runs find it done.

    Example: winnow job cancel 20261121-020000-123abcd
    """
    from jobs import control

    job = _find(workspace, job_id)
    control.cancel(job)
    _tell(job, control.wait(job, {"cancelled"}, wait), as_json)


@app.command()
def clear(job_id: IdArgument, workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Forget a job that is over: its records and its rows in runs and stage_runs. What it computed stays.

    Refused while a head, a release or a child run refers to it.

    Example: winnow job clear 20261121-020000-123abcd
    """
    from jobs import ended
    from jobs.cli.show import out, print_json

    job = _find(workspace, job_id)
    ended.clear(job)
    if as_json:
        print_json({"job_id": job.job_id, "cleared": True})
    else:
        out.print(f"job {job.job_id} is cleared")


def _find(workspace: str | None, job_id: str) -> Job:
    from jobs import control
    from jobs.workspace import Workspace

    return control.find(Workspace.at(workspace), job_id)


def _go_on(job: Job, state: JobState, ray_address: str | None, as_json: bool) -> None:
    """Run a job that nobody else will."""
    from dataclasses import replace

    from jobs import requests
    from jobs.cli.run import execute, print_record

    if state.queued or state.state == "running":
        _tell(job, state, as_json)
        return
    request = requests.of_job(job.workspace, job.job_id)
    if ray_address:
        request = replace(request, ray_address=ray_address)
    print_record(execute(request, as_json, job.job_id), request, as_json)


def _tell(job: Job, state: JobState, as_json: bool) -> None:
    from jobs.cli.show import out, print_json

    asked = state.request.word if state.request else None
    if as_json:
        print_json({"job_id": job.job_id, "state": state.state, "request": asked})
        return
    after = f" {state.request.data['stage']}" if state.request and "stage" in state.request.data else ""
    out.print(f"job {job.job_id} is {state.state}{f', asked: {asked}{after}' if asked else ''}")
