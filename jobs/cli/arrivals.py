"""`winnow arrivals`: runs that start when data arrives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from jobs.cli.commands import Commands
from jobs.cli.json_output import print_json
from jobs.cli.options import JsonOption, WorkspaceOption
from jobs.cli.places import root_of
from jobs.cli.run_parameters import takes_run_options

if TYPE_CHECKING:
    from jobs.runs.run_options import RunOptions

app = Commands(help="Run jobs when data arrives in a folder, or as uploads.")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of a rule.")]


@app.command()
@takes_run_options("limit", "pause_after", "strict", "reread", "stream_ids", "rebind", "allow_missing")
def add(
    name: NameArgument,
    options: RunOptions,
    workspace: WorkspaceOption = None,
    debounce: Annotated[
        float, typer.Option(help="Seconds in which nothing may come or change before a batch is run.", min=0)
    ] = 300.0,
    priority: Annotated[int, typer.Option(help="Jobs with a higher priority run first.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Let the gateway run a job on each batch of data that arrives below --input.

    That is a folder, or `upload:` with the folder of uploads, none for all of them. What is there already is the first
    batch. A clip that is still being written is waited for; what was run on is not run on again unless it changes.

    Example: winnow arrivals add cams --input /data/incoming --profile quality
    """
    from jobs.dispatch.arrival_commands import add as keep

    found = keep(workspace, name, options, debounce, priority)
    if as_json:
        print_json(found)
        return
    typer.echo(f"arrival rule {name}: {found['source']} is watched by `winnow gateway`")


@app.command("list")
def list_(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """List the rules: what each has submitted, and how much it waits for.

    Example: winnow arrivals list
    """
    from jobs.cli.show import print_table
    from jobs.dispatch.arrivals import listed

    found = listed(root_of(workspace))
    if as_json:
        print_json(found)
        return
    columns = ("name", "source", "debounce_s", "waiting", "submitted", "last_job", "error")
    print_table(columns, [tuple(row.get(column) for column in columns) for row in found])


@app.command()
def remove(name: NameArgument, workspace: WorkspaceOption = None) -> None:
    """Delete a rule; the jobs that it submitted stay.

    Example: winnow arrivals remove cams
    """
    from jobs.dispatch import arrivals

    arrivals.remove(root_of(workspace), name)
    typer.echo(f"arrival rule {name} is removed")
