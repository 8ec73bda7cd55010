"""`winnow job`: control of jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from jobs.cli.commands import Commands
from jobs.cli.options import JsonOption, RayOption, WorkspaceOption
from jobs.cli.watch import watch
from jobs.core.choices import RetryOnly
from jobs.core.naming import many

if TYPE_CHECKING:
    from jobs.dispatch.job_control import ControlResult
    from jobs.records.run_record import RunRecord
    from jobs.runs.prepare import RunRequest
    from jobs.storage.workspace import Workspace

app = Commands(help="List, pause, resume, step, cancel, clear, replay and retry jobs.")
app.command("watch")(watch)

IdArgument = Annotated[
    str, typer.Argument(metavar="ID", help="Id of the job, its beginning, or `last`.", show_default=False)
]
WaitOption = Annotated[
    float, typer.Option(min=0, help="Wait up to this many seconds for the job to do it.", metavar="SECONDS")
]


@app.command("list")
def list_(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """List the jobs, oldest first: those that wait, run or are paused, and those that are over.

    Example: winnow job list
    """
    from jobs.cli.json_output import print_json
    from jobs.cli.places import root_of
    from jobs.cli.show import moment, print_table
    from jobs.core.naming import shortened
    from jobs.dispatch.job_listing import listed
    from jobs.runs.follow import duration

    found = listed(root_of(workspace))
    if as_json:
        print_json(found)
        return
    rows = [
        (
            row["job_id"],
            row["state"] + (f", asked: {row['asked']}" if row["asked"] else ""),
            None if row["started_ns"] is None else moment(row["started_ns"]),
            row["frames"],
            row["kept"],
            None if row["seconds"] is None else duration(row["seconds"]),
            shortened(row["inputs"]),
            row["error"],
        )
        for row in found
    ]
    print_table(("job", "state", "started", "frames", "kept", "took", "inputs", "error"), rows)


@app.command()
def pause(
    job_id: IdArgument, workspace: WorkspaceOption = None, wait: WaitOption = 10.0, as_json: JsonOption = False
) -> None:
    """Ask a job to commit the frames in progress, free its cores and pause.

    It stays paused until it is resumed, even if the gateway or the machine restarts.

    Example: winnow job pause 20261121-020000-123abcd
    """
    from jobs.dispatch import job_control

    _print_result(job_control.pause(_at(workspace), job_id, wait), as_json)


@app.command()
def resume(
    job_id: IdArgument,
    workspace: WorkspaceOption = None,
    ray_address: RayOption = None,
    as_json: JsonOption = False,
) -> None:
    """Resume a job that is paused or has failed: here, or through a gateway if it belongs to the queue.

    Inputs and settings are those it was started with; nothing is computed twice. If its cluster has ended,
    name another one, or --ray-address local.

    Example: winnow job resume 20261121-020000-123abcd
    """
    from jobs.dispatch import job_control

    _continue(job_control.resume(_at(workspace), job_id, ray_address), as_json)


@app.command()
def step(
    job_id: IdArgument,
    workspace: WorkspaceOption = None,
    ray_address: RayOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run one stage of a paused job, and pause it after that; all stages that read pixels are one, `measure`.

    A running job pauses after its current stage.

    Example: winnow job step 20261121-020000-123abcd
    """
    from jobs.dispatch import job_control

    _continue(job_control.step(_at(workspace), job_id, ray_address), as_json)


@app.command("pause-after")
def pause_after(
    stage: Annotated[str, typer.Argument(help="Name of the stage.", show_default=False)],
    job_id: IdArgument,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask a job to pause after a stage.

    Example: winnow job pause-after duplicates 20261121-020000-123abcd
    """
    from jobs.dispatch import job_control

    _print_result(job_control.pause_after(_at(workspace), job_id, stage), as_json)


@app.command()
def stop(
    job_id: IdArgument, workspace: WorkspaceOption = None, wait: WaitOption = 10.0, as_json: JsonOption = False
) -> None:
    """End a training as done: the best epoch so far is registered, and nothing is lost.

    Example: winnow job stop 20261121-020000-123abcd
    """
    from jobs.dispatch import job_control

    _print_result(job_control.stop(_at(workspace), job_id, wait), as_json)


@app.command()
def cancel(
    job_id: IdArgument, workspace: WorkspaceOption = None, wait: WaitOption = 10.0, as_json: JsonOption = False
) -> None:
    """Cancel a job for good. What it committed stays, and later runs reuse it.

    Example: winnow job cancel 20261121-020000-123abcd
    """
    from jobs.dispatch import job_control

    _print_result(job_control.cancel(_at(workspace), job_id, wait), as_json)


@app.command()
def clear(job_id: IdArgument, workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Delete the records of a job that is over, and its rows in runs and stage_runs. What it computed stays.

    Refused while the current version of a stream, a release or a child run refers to it.

    Example: winnow job clear 20261121-020000-123abcd
    """
    from jobs.cli.json_output import print_json
    from jobs.cli.show import out
    from jobs.dispatch import job_control

    cleared = job_control.clear(_at(workspace), job_id)
    if as_json:
        print_json({"job_id": cleared, "cleared": True})
    else:
        out.print(f"job {cleared} is cleared")


@app.command()
def replay(
    job_id: IdArgument,
    start: Annotated[str, typer.Option("--from", help="First stage to recompute.", metavar="STAGE")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change one value, as in --set blur.laplacian=40. Repeat for several."),
    ] = None,
    promote: Annotated[
        bool, typer.Option("--promote", help="Make the result the current version when it is done.")
    ] = False,
    workspace: WorkspaceOption = None,
    ray_address: RayOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a child of a run: from one stage on with other settings; the stages above are reused.

    The current version stays as it is, unless --promote; read the child with --run ID. Frames are those that were
    listed last; folders are not read.

    Example: winnow job replay 20261121-020000-123abcd --from curation --set curation.dark_mean=20
    """
    from jobs.dispatch import job_control

    _run_child(job_control.replay(_at(workspace), job_id, start, settings or (), promote, ray_address), as_json)


@app.command("replay-stage")
def replay_stage(
    job_id: IdArgument,
    stage: Annotated[str, typer.Argument(help="Name of the stage.", show_default=False)],
    workspace: WorkspaceOption = None,
    ray_address: RayOption = None,
    as_json: JsonOption = False,
) -> None:
    """Recompute one stage of a run, although it is done, and report whether the rows are the same.

    A stage that reads pixels measures its frames again; groups of duplicates are found from scratch. Rows that differ
    replace the old ones. Exits with 1 if there are any.

    Example: winnow job replay-stage 20261121-020000-123abcd quality
    """
    from jobs.cli.show import out
    from jobs.dispatch import job_control

    record = _run_child(job_control.replay_stage(_at(workspace), job_id, stage, ray_address), as_json)
    rows, changed = record.counts["rows"], record.counts["rows_changed"]
    if not as_json:
        out.print(f"{stage}: {many(rows, 'row')}, {f'{changed:,} differ' if changed else 'all the same'}")
    if changed:
        raise typer.Exit(1)


@app.command()
def retry(
    job_id: IdArgument,
    only: Annotated[
        RetryOnly | None, typer.Option(help="Retry only such frames, in a child run.", show_default=False)
    ] = None,
    workspace: WorkspaceOption = None,
    ray_address: RayOption = None,
    as_json: JsonOption = False,
) -> None:
    """Resume a job that has failed; or retry the frames that it quarantined, and what depends on them.

    Example: winnow job retry 20261121-020000-123abcd --only quarantined
    """
    from jobs.dispatch import job_control

    if only is None:
        _continue(job_control.resume(_at(workspace), job_id, ray_address), as_json)
    else:
        _run_child(job_control.retry_quarantined(_at(workspace), job_id, ray_address), as_json)


def _at(workspace: str | None) -> Workspace:
    from jobs.storage.workspace import Workspace

    return Workspace.at(workspace)


def _run_child(request: RunRequest, as_json: bool) -> RunRecord:
    """Run a request that descends from another run, and print the result; of one stage, the caller prints it."""
    from jobs.cli.run import execute, print_record

    record = execute(request, as_json)
    if request.replay is None or not request.replay.recompute or as_json:
        print_record(record, request, as_json)
    return record


def _continue(result: ControlResult, as_json: bool) -> None:
    """Run a job that is left to this process; of any other, print its state."""
    from jobs.cli.run import execute, print_record

    request = result.to_run
    if request is None:
        _print_result(result, as_json)
    else:
        print_record(execute(request, as_json, result.job_id), request, as_json)


def _print_result(result: ControlResult, as_json: bool) -> None:
    from jobs.cli.json_output import print_json
    from jobs.cli.show import out

    if as_json:
        print_json(result.values())
        return
    state, request = result.state.state, result.state.request
    stage = f" {request.data['stage']}" if request and "stage" in request.data else ""
    out.print(f"job {result.job_id} is {state}{f', asked: {request.word}{stage}' if request else ''}")
