"""`winnow schedule`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from jobs.cli.commands import Commands
from jobs.cli.options import (
    AllowMissingOption,
    ConfigOption,
    InputsOption,
    JsonOption,
    OnError,
    OnErrorOption,
    ProfileOption,
    RayOption,
    RebindOption,
    SettingsOption,
    StreamIdsOption,
    WorkspaceOption,
)
from jobs.storage.paths import Place

app = Commands(help="Run jobs again and again, each time with a release.")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of a schedule.")]


def _root(workspace: str | None) -> Place:
    from jobs.storage.workspace import Workspace

    return Workspace.at(workspace).require().root


@app.command()
def add(
    name: NameArgument,
    cron: Annotated[
        str, typer.Option(help="When: minute, hour, day of month, month, day of week.", metavar="EXPRESSION")
    ],
    inputs: InputsOption,
    workspace: WorkspaceOption = None,
    tz: Annotated[str, typer.Option(help="Time zone of the expression, as in Europe/Berlin.")] = "UTC",
    profile: ProfileOption = None,
    config: ConfigOption = None,
    settings: SettingsOption = None,
    stream_ids: StreamIdsOption = None,
    rebind: RebindOption = False,
    allow_missing: AllowMissingOption = False,
    on_error: OnErrorOption = OnError.quarantine,
    ray_address: RayOption = None,
    priority: Annotated[int, typer.Option(help="Jobs with a higher one are taken up first.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Let the gateway run something at certain times, and make a release NAME-DATE of it each time.

    Times that went by while no gateway was running are made up for once. While its last job has not ended, a schedule
    is skipped. For those who run no gateway, a line for their crontab is printed.

    Example: winnow schedule add nightly --cron "0 2 * * *" --tz Europe/Berlin --input /data/cam1
    """
    from jobs.dispatch.schedule_commands import add as keep
    from jobs.runs.run_options import Asked

    asked = Asked(
        inputs,
        profile,
        config,
        settings or (),
        stream_ids or (),
        rebind,
        allow_missing,
        None,
        ray_address,
        on_error.value,
        None,
    )
    found = keep(workspace, name, cron, tz, asked, priority)
    if as_json:
        _print_json(found)
        return
    typer.echo(f"schedule {name}: next on {found['next']}, run by `winnow gateway`")
    typer.echo("without a gateway, put this into your crontab:")
    for line in found["crontab"]:
        typer.echo(line)


@app.command("list")
def list_(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """List the schedules: when they are due, and what became of their last time.

    Exit code 1 if one of them is damaged, so that it never is due.

    Example: winnow schedule list
    """
    from jobs.dispatch.schedule_commands import listed

    found = listed(_root(workspace))
    damaged = [row["error"] for row in found if row["error"]]
    if as_json:
        _print_json(found)
    else:
        from jobs.cli.show import print_table

        columns = ("name", "cron", "tz", "next", "last_job", "state", "skipped")
        rows = [tuple("damaged" if c == "next" and row["error"] else row[c] for c in columns) for row in found]
        print_table(columns, rows)
    if damaged:
        from jobs.cli.error_output import say

        say(damaged, 1, as_json=False)
        raise typer.Exit(1)


@app.command()
def remove(name: NameArgument, workspace: WorkspaceOption = None) -> None:
    """Take a schedule out; the jobs and releases that it made stay.

    Example: winnow schedule remove nightly
    """
    from jobs.dispatch import control_token, schedule

    root = _root(workspace)
    control_token.check(root)
    schedule.remove(root, name)
    typer.echo(f"schedule {name} is removed")


@app.command("run-now")
def run_now(
    name: NameArgument,
    workspace: WorkspaceOption = None,
    here: Annotated[bool, typer.Option("--here", help="Run it in this process, without a gateway.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Submit a schedule's job now, and print its id; refused while its last job has not ended.

    With --here, a job of it that waits, or whose process has died, is finished before there is a new one.

    Example: winnow schedule run-now nightly
    """
    from jobs.dispatch import control_token
    from jobs.dispatch.schedule_commands import run_now as submit

    root = _root(workspace)
    control_token.check(root)
    job_id = submit(root, name, claim=here)
    if as_json:
        _print_json({"job_id": job_id})
    else:
        typer.echo(job_id)
    if here:
        from jobs.cli.gateway import execute

        execute(job_id, str(root))


def _print_json(values: Any) -> None:
    import json

    typer.echo(json.dumps(values))
