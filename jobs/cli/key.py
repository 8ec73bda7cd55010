"""`winnow key`: keys with which programs reach a server."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.cli.accounts import accounts, this_machine
from jobs.cli.commands import Commands
from jobs.cli.json_output import print_json
from jobs.cli.options import JsonOption, WorkspaceOption
from jobs.cli.serve import DatabaseOption, RootOption

app = Commands(help="Manage keys with which programs reach the server.")


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="What the key is for.", metavar="NAME")],
    user: Annotated[str, typer.Option("--user", help="Account that owns it, whose rights it has at most.")],
    scope: Annotated[
        list[str], typer.Option("--scope", help="What it may do: read, submit, control, … Several if repeated.")
    ],
    project: Annotated[str | None, typer.Option("--project", help="The only project that it reaches.")] = None,
    days: Annotated[int, typer.Option("--days", min=1, help="Days that it holds.")] = 90,
    workspace: WorkspaceOption = None,
    root: RootOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key and print it; it is shown once.

    Example: winnow key add nightly --user jane --scope read --scope submit
    """
    with accounts(workspace, root, database) as opened:
        from jobs.accounts import keys, people

        with opened.read() as connection:
            person = people.by_name(connection, user)
        key, text = opened.write(lambda c: keys.add(c, this_machine(), person.user_id, name, scope, project, days))
    if as_json:
        print_json({"key_id": key.key_id, "name": key.name, "scopes": list(key.scopes), "key": text})
    else:
        typer.echo(text)


@app.command("list")
def list_(
    workspace: WorkspaceOption = None,
    root: RootOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the keys that were not revoked.

    Example: winnow key list
    """
    with accounts(workspace, root, database) as opened:
        from jobs.accounts import keys

        with opened.read() as connection:
            found = keys.all_of(connection, None)
    if as_json:
        print_json(
            [
                {
                    "key_id": key.key_id,
                    "name": key.name,
                    "owner": key.owner,
                    "scopes": list(key.scopes),
                    "project": key.project,
                }
                for key in found
            ]
        )
        return
    from jobs.cli.show import moment, print_table

    rows = [
        (
            key.key_id,
            key.name,
            key.owner,
            " ".join(key.scopes),
            key.project or "all",
            moment(key.expires_ns),
            moment(key.used_ns) if key.used_ns else "never",
        )
        for key in found
    ]
    print_table(("id", "name", "owner", "scopes", "project", "until", "last used"), rows)


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="Id of the key: the 8 characters after wnw_.", metavar="ID")],
    workspace: WorkspaceOption = None,
    root: RootOption = None,
    database: DatabaseOption = None,
) -> None:
    """Revoke a key; it holds no more from the next request on.

    Example: winnow key revoke 56300b4c
    """
    with accounts(workspace, root, database) as opened:
        from jobs.accounts import keys

        opened.write(lambda c: keys.revoke(c, this_machine(), key_id, None))
    typer.echo(f"key {key_id} is revoked")
