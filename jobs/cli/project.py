"""`winnow project`: the workspaces that a server serves, and who may what in them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jobs.cli.accounts import accounts, this_machine
from jobs.cli.commands import Commands
from jobs.cli.json_output import print_json
from jobs.cli.options import JsonOption, WorkspaceOption
from jobs.cli.serve import DatabaseOption, RootOption, settings_of

app = Commands(help="Manage the projects of the server, and their members.")

ProjectArgument = Annotated[str, typer.Argument(help="Name of a project.", metavar="PROJECT")]


@app.command("list")
def list_(workspace: WorkspaceOption = None, root: RootOption = None, as_json: JsonOption = False) -> None:
    """List the projects: the workspaces below --root, or the one.

    Example: winnow project list --root /data
    """
    settings = settings_of(workspace, root)
    from jobs.web.projects import Projects

    found = Projects(settings).all()
    if as_json:
        print_json([{"project": project.name, "path": project.path} for project in found])
        return
    from jobs.cli.show import print_table

    print_table(("project", "workspace"), [(project.name, project.path) for project in found])


@app.command()
def create(
    name: ProjectArgument,
    root: Annotated[Path, typer.Option("--root", help="Folder of workspaces.", metavar="DIR")],
) -> None:
    """Make an empty project below the root.

    Example: winnow project create crossing --root /data
    """
    settings = settings_of(None, root)
    from jobs.web.projects import Projects

    made = Projects(settings).create(name)
    typer.echo(f"project {made.name} at {made.path}")


@app.command()
def members(
    project: ProjectArgument,
    add: Annotated[str | None, typer.Option("--add", help="Account that gets a role.", metavar="NAME")] = None,
    role: Annotated[str, typer.Option("--role", help="viewer, annotator, reviewer or admin.")] = "viewer",
    remove: Annotated[str | None, typer.Option("--remove", help="Account that is removed.", metavar="NAME")] = None,
    workspace: WorkspaceOption = None,
    root: RootOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the members of a project, after giving somebody a role or removing somebody.

    Example: winnow project members crossing --add jane --role reviewer
    """
    settings = settings_of(workspace, root, database)
    from jobs.web.projects import Projects

    Projects(settings).named(project)
    with accounts(workspace, root, database) as opened:
        from jobs.accounts import members as of
        from jobs.accounts import people

        with opened.read() as connection:
            added = people.by_name(connection, add).user_id if add else None
            removed = people.by_name(connection, remove).user_id if remove else None
        if added is not None:
            opened.write(lambda c: of.put(c, this_machine(), project, added, role))
        if removed is not None:
            opened.write(lambda c: of.remove(c, this_machine(), project, removed))
        with opened.read() as connection:
            found = of.of_project(connection, project)
    if as_json:
        print_json(found)
        return
    from jobs.cli.show import print_table

    print_table(("name", "role"), [(member["name"], member["role"]) for member in found])
