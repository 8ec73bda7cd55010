"""`winnow schedule`: recurring jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli.commands import Commands
from jobs.cli.json_output import print_job_id, print_json
from jobs.cli.options import JsonOption, WorkspaceOption
from jobs.cli.places import root_of
from jobs.cli.run_parameters import takes_run_options
from jobs.core.choices import ExportFormat
from transforms.curate.strategy import Strategy

if TYPE_CHECKING:
    from jobs.runs.run_options import RunOptions

app = Commands(help="Run jobs at certain times, and make a release of each.")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of a schedule.")]


@app.command()
@takes_run_options("limit", "pause_after", "strict", "reread")
def add(
    name: NameArgument,
    cron: Annotated[
        str,
        typer.Option(
            help="When: minute, hour, day of month, month, day of week; or @hourly, @daily, @weekly, @monthly.",
            metavar="EXPRESSION",
        ),
    ],
    options: RunOptions,
    workspace: WorkspaceOption = None,
    tz: Annotated[str, typer.Option(help="Time zone of the expression, as in Europe/Berlin.")] = "UTC",
    priority: Annotated[int, typer.Option(help="Jobs with a higher priority run first.")] = 0,
    select: Annotated[
        int | None,
        typer.Option(
            help="Choose so many kept frames of each release, none that was chosen for an earlier one.",
            metavar="N",
            min=1,
        ),
    ] = None,
    strategy: Annotated[Strategy, typer.Option(help="How --select chooses; see winnow select.")] = "diverse",
    export: Annotated[
        ExportFormat | None,
        typer.Option(help="Export what was chosen, or all kept frames, in this format.", show_default=False),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(help="Where --export writes: a folder for each release, of its name.", metavar="FOLDER"),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="How --export divides, as in train=0.8,val=0.2.", metavar="NAME=FRACTION,…")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Let the gateway run a job at certain times, and make a release NAME-DATE of it each time.

    With --select and --export, frames of each release are chosen and exported; if that fails, so does the job.

    However many times passed while no gateway was running, the job runs once for them. While its last job has not
    ended, a schedule is skipped. A line for a crontab is printed, for use without a gateway.

    Example: winnow schedule add nightly --cron "0 2 * * *" --tz Europe/Berlin --input /data/cam1
    """
    from jobs.cli.run import print_destinations
    from jobs.dispatch.follow_up import FollowUp
    from jobs.dispatch.schedule_commands import add as keep
    from jobs.runs.run_options import build_request

    print_destinations(build_request(workspace, options))
    found = keep(workspace, name, cron, tz, options, priority, FollowUp(select, strategy, export, out, split))
    if as_json:
        print_json(found)
        return
    typer.echo(f"schedule {name}: next on {found['next']}, run by `winnow gateway`")
    typer.echo("without a gateway, put this into your crontab:")
    for line in found["crontab"]:
        typer.echo(line)


@app.command("list")
def list_(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """List the schedules: when they are due, and how their last job ended.

    Exit code 1 if one of them is damaged, so that it is never due.

    Example: winnow schedule list
    """
    from jobs.dispatch.schedule_commands import listed

    found = listed(root_of(workspace))
    damaged = [row["error"] for row in found if row["error"]]
    if as_json:
        print_json(found)
    else:
        from jobs.cli.show import print_table

        columns = ("name", "cron", "tz", "next", "last_job", "state", "then", "skipped")
        shown = [row | {"then": _in_words(row["then"])} for row in found]
        rows = [tuple("damaged" if c == "next" and row["error"] else row[c] for c in columns) for row in shown]
        print_table(columns, rows)
    if damaged:
        from jobs.cli.error_output import print_problems

        print_problems(damaged, 1, as_json=False)
        raise typer.Exit(1)


@app.command()
def remove(name: NameArgument, workspace: WorkspaceOption = None) -> None:
    """Delete a schedule; the jobs and releases that it made stay.

    Example: winnow schedule remove nightly
    """
    from jobs.dispatch import schedule_commands

    schedule_commands.remove(root_of(workspace), name)
    typer.echo(f"schedule {name} is removed")


@app.command("run-now")
def run_now(
    name: NameArgument,
    workspace: WorkspaceOption = None,
    here: Annotated[bool, typer.Option("--here", help="Run it in this process, without a gateway.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Submit a schedule's job now, and print its id; refused while its last job has not ended.

    With --here, a job of it that waits, or whose process has died, is finished instead of submitting a new one.

    Example: winnow schedule run-now nightly
    """
    from jobs.dispatch.schedule_commands import run_now as submit

    root = root_of(workspace)
    job_id = submit(root, name, claim=here)
    print_job_id(job_id, as_json)
    if here:
        from jobs.cli.gateway import execute

        execute(job_id, str(root))


def _in_words(then: Mapping[str, Any]) -> str:
    """Return what a schedule does with its releases in words, nothing if it only makes them."""
    done = [f"select {then['select']:,}, {then['strategy']}"] if then.get("select") else []
    done += [f"export as {then['export']} to {then['out']}"] if then.get("export") else []
    return "; ".join(done)
