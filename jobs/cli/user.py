"""`winnow user`: accounts of a server, whether it runs or not."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.cli.accounts import StdinOption, UserArgument, accounts, new_password, this_machine
from jobs.cli.commands import Commands
from jobs.cli.json_output import print_json
from jobs.cli.options import JsonOption, WorkspaceOption
from jobs.cli.serve import DatabaseOption, RootOption, settings_of

app = Commands(help="Manage accounts of the server.")


@app.command()
def add(
    name: UserArgument,
    admin: Annotated[bool, typer.Option("--admin", help="Make it an admin of the server.")] = False,
    display_name: Annotated[str, typer.Option("--display-name", help="Name that others see.")] = "",
    password_stdin: StdinOption = False,
    workspace: WorkspaceOption = None,
    root: RootOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make an account; you type the password.

    Example: winnow user add jane --admin
    """
    with accounts(workspace, root, database) as opened:
        from jobs.accounts import people

        hashed = people.new_password_hash(name, new_password(password_stdin))
        person = opened.write(lambda c: people.add(c, this_machine(), name, hashed, display_name, admin))
    if as_json:
        print_json({"user_id": person.user_id, "name": person.name, "is_admin": person.is_admin})
    else:
        typer.echo(f"account {person.name}{', an admin of the server' if admin else ''}")


@app.command("list")
def list_(
    workspace: WorkspaceOption = None,
    root: RootOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the accounts.

    Example: winnow user list
    """
    with accounts(workspace, root, database) as opened:
        from jobs.accounts import people

        with opened.read() as connection:
            found = people.everyone(connection)
    if as_json:
        print_json(
            [
                {
                    "user_id": person.user_id,
                    "name": person.name,
                    "display_name": person.display_name,
                    "is_admin": person.is_admin,
                    "disabled": person.disabled,
                }
                for person in found
            ]
        )
        return
    from jobs.cli.show import moment, print_table

    rows = [
        (
            person.name,
            person.display_name,
            "admin" if person.is_admin else "",
            "disabled" if person.disabled else "",
            moment(person.seen_ns) if person.seen_ns else "never",
        )
        for person in found
    ]
    print_table(("name", "display name", "role", "state", "last seen"), rows)


@app.command()
def disable(
    name: UserArgument, workspace: WorkspaceOption = None, root: RootOption = None, database: DatabaseOption = None
) -> None:
    """Disable an account: its sessions and keys end at once.

    Example: winnow user disable jane
    """
    _change(name, workspace, root, database, True)
    typer.echo(f"account {name} is disabled; its sessions and keys have ended")


@app.command()
def enable(
    name: UserArgument, workspace: WorkspaceOption = None, root: RootOption = None, database: DatabaseOption = None
) -> None:
    """Enable an account that was disabled; keys that were revoked stay so.

    Example: winnow user enable jane
    """
    _change(name, workspace, root, database, False)
    typer.echo(f"account {name} is enabled")


@app.command()
def reset(
    name: UserArgument,
    password_stdin: StdinOption = False,
    workspace: WorkspaceOption = None,
    root: RootOption = None,
    database: DatabaseOption = None,
) -> None:
    """Set a new password of an account; its sessions end at once.

    Example: winnow user reset jane
    """
    with accounts(workspace, root, database) as opened:
        from jobs.accounts import people

        with opened.read() as connection:
            person = people.by_name(connection, name)
        hashed = people.new_password_hash(name, new_password(password_stdin))
        opened.write(lambda c: people.set_password(c, this_machine(), person.user_id, hashed))
    typer.echo(f"account {person.name} has a new password; its sessions have ended")


@app.command()
def demo(workspace: WorkspaceOption = None, root: RootOption = None, as_json: JsonOption = False) -> None:
    """Make an account of each role, to try the server with, and print their passwords once.

    For a server that this machine alone reaches: one that others reach does not start with them.

    Example: winnow user demo
    """
    import secrets

    settings = settings_of(workspace, root)
    from jobs.web.projects import Projects
    from jobs.web.serve import require_private

    require_private(settings)
    projects = [project.name for project in Projects(settings).all()]
    with accounts(workspace, root, None) as opened:
        from jobs.accounts import demo_accounts, passwords
        from jobs.accounts.roles import ROLES

        chosen = {role: secrets.token_urlsafe(12) for role in ROLES}
        hashes = {role: passwords.hashed(password) for role, password in chosen.items()}
        names = opened.write(lambda c: demo_accounts.make(c, this_machine(), projects, hashes))
    if as_json:
        print_json([{"name": names[role], "role": role, "password": chosen[role]} for role in names])
        return
    from jobs.cli.show import print_table

    print_table(("name", "role", "password"), [(names[role], role, chosen[role]) for role in names])


def _change(name: str, workspace: str | None, root: RootOption, database: str | None, disabled: bool) -> None:
    with accounts(workspace, root, database) as opened:
        from jobs.accounts import people

        with opened.read() as connection:
            person = people.by_name(connection, name)
        opened.write(lambda c: people.change(c, this_machine(), person.user_id, disabled=disabled))
