"""`winnow brands`: the dictionary of brands, and the report on their exposure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jobs.cli.commands import Commands
from jobs.cli.options import JsonOption, ReleaseOption, RunOption, WorkspaceOption

app = Commands(help="Exposure of brands: the dictionary of their names, and the report.")


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


@app.command()
def report(
    out: Annotated[str, typer.Option("--out", "-o", help="The file to write; its name ends in .html, .csv or .json.")],
    workspace: WorkspaceOption = None,
    run: RunOption = None,
    release: ReleaseOption = None,
) -> None:
    """Report how long each brand is visible: a page with timeline, heat map and evidence, or figures as CSV or JSON.

    The page needs no network.

    Example: winnow brands report --out brands.html
    """
    import json

    from jobs.analysis.brand_report import brand_report
    from jobs.cli.show import out as console
    from jobs.core.errors import UserError
    from jobs.storage import paths
    from jobs.storage.workspace import Workspace
    from jobs.views.view import View

    kind = out.rpartition(".")[2].lower()
    if kind not in {"html", "csv", "json"}:
        raise UserError(f"--out: expected a name that ends in .html, .csv or .json, found {out!r}")
    found = brand_report(View.of(Workspace.at(workspace), run, release))
    made = json.dumps(found.as_data()) if kind == "json" else found.as_csv() if kind == "csv" else found.as_html()
    place = paths.absolute(out)
    place.write(made.encode())
    console.print(f"report: {place}", soft_wrap=True, markup=False)
