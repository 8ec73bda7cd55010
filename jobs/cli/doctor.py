"""`winnow doctor`: checks of the machine and the workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from jobs.cli.options import ConfigOption, JsonOption, ProfileOption, SettingsOption, WorkspaceOption

if TYPE_CHECKING:
    from jobs.diagnostics.finding import Finding

_MARKS = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "broken": "[red]broken[/]"}


def doctor(
    workspace: WorkspaceOption = None,
    verify: Annotated[bool, typer.Option("--verify", help="Hash every data file; reads all of them.")] = False,
    profile: ProfileOption = None,
    config: ConfigOption = None,
    settings: SettingsOption = None,
    quick: Annotated[bool, typer.Option("--quick", help="Start no engine, which takes seconds.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check this machine and the workspace, and print how to fix what is wrong. Changes nothing.

    With a profile or a configuration, the weights of its models and what it needs of the machine are checked as well.
    Exit code 1 if something is broken.

    Example: winnow doctor --profile annotate --verify
    """
    from dataclasses import asdict

    from conf import ConfigError, load
    from jobs.cli.json_output import print_json
    from jobs.cli.show import err, out
    from jobs.core.errors import UserError
    from jobs.diagnostics.doctor import examine

    try:
        loaded = load(profile, config, settings or ()) if profile or config or settings else None
    except ConfigError as error:
        raise UserError(error.problems) from error
    if err.is_terminal and not as_json:
        with err.status("checking") as status:
            findings = examine(
                workspace, verify, lambda what: status.update(f"checking {what}"), loaded, start=not quick
            )
    else:
        findings = examine(workspace, verify, loaded=loaded, start=not quick)
    findings += _of_reviews(workspace)
    broken = [f for f in findings if f.level == "broken"]
    if as_json:
        print_json({"healthy": not broken, "findings": [asdict(f) for f in findings]})
    else:
        width = max(len(f.subject) for f in findings)
        for finding in findings:
            out.print(f"{_MARKS[finding.level]:<20}", end="")
            out.print(f"{finding.subject:<{width}}  {finding.found}", markup=False)
            if finding.fix:
                out.print(f"{'':<8}{'':<{width}}  {finding.fix}", markup=False)
    raise typer.Exit(1 if broken else 0)


def _of_reviews(place: str | None) -> list[Finding]:
    """Return findings about edits in the browser; what cannot be read was reported with the tables."""
    from contextlib import suppress
    from importlib.util import find_spec

    from jobs.core.errors import UserError
    from jobs.storage.workspace import Workspace

    if find_spec("sqlalchemy") is None:
        return []
    with suppress(UserError, OSError):
        workspace = Workspace.at(place)
        if workspace.exists:
            from jobs.editing.checks import examine
            from jobs.web.app_databases import app_databases

            return list(examine(workspace, app_databases(workspace)))
    return []
