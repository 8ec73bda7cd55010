"""`winnow brands`: the dictionary of brands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jobs.cli.commands import Commands
from jobs.cli.options import JsonOption, WorkspaceOption

app = Commands(help="Exposure of brands: the dictionary of their names.")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The dictionary, as YAML.")],
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Replace the dictionary by that of a file. Runs match what was read with it; nothing else is computed again.

    Example: winnow brands import brands.yaml
    """
    from dataclasses import asdict

    from jobs.cli.json_output import print_json
    from jobs.cli.show import out
    from jobs.ingest.brand_dictionary import import_dictionary
    from jobs.storage.store import Store
    from jobs.storage.workspace import Workspace

    done = import_dictionary(Store(Workspace.at(workspace).create().root), file)
    if as_json:
        print_json(asdict(done))
        return
    counts = {"added": done.added, "changed": done.changed, "removed": done.removed}
    for what, names in counts.items():
        if names:
            out.print(f"{what}: {', '.join(names)}")
    if done.unchanged:
        out.print(f"unchanged: {done.unchanged}")
    for warning in done.warnings:
        out.print(f"warning: {warning}")


@app.command("list")
def list_(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """List the brands of the dictionary.

    Example: winnow brands list
    """
    import schemas
    from jobs.cli.json_output import print_json
    from jobs.cli.places import store_of
    from jobs.cli.show import print_table

    rows = store_of(workspace).read(schemas.BRANDS).sort_by("brand").to_pylist()
    plain = [{**row, "logos": [logo["name"] for logo in row["logos"]]} for row in rows]
    if as_json:
        print_json(plain)
        return
    lists = ("aliases", "never", "logos", "colours")
    print_table(("brand", *lists), [(row["brand"], *(", ".join(row[name]) for name in lists)) for row in plain])
