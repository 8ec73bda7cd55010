"""`winnow doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.cli.options import JsonOption, WorkspaceOption

_MARKS = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "broken": "[red]broken[/]"}


def doctor(
    workspace: WorkspaceOption = None,
    verify: Annotated[bool, typer.Option("--verify", help="Hash every data file again; reads all of them.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Look over this machine and the workspace, and say what mends what is wrong. Changes nothing.

    Exit code 1 if something is broken.

    Example: winnow doctor --verify
    """
    from dataclasses import asdict

    from jobs.cli.show import err, out, print_json
    from jobs.doctor import examine

    if err.is_terminal and not as_json:
        with err.status("looking") as status:
            findings = examine(workspace, verify, lambda what: status.update(f"looking at {what}"))
    else:
        findings = examine(workspace, verify)
    broken = [f for f in findings if f.level == "broken"]
    if as_json:
        print_json({"healthy": not broken, "findings": [asdict(f) for f in findings]})
    else:
        width = max(len(f.subject) for f in findings)
        for finding in findings:
            out.print(f"{_MARKS[finding.level]:<20}", end="")
            out.print(f"{finding.subject:<{width}}  {finding.found}", markup=False)
            if finding.mend:
                out.print(f"{'':<8}{'':<{width}}  {finding.mend}", markup=False)
    raise typer.Exit(1 if broken else 0)
