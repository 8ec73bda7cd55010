"""`winnow evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jobs.cli.options import JsonOption, ReleaseOption, RunOption, WorkspaceOption

app = typer.Typer(help="Hold results against labels.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `curation` a word of its own, though it is the only one yet."""


@app.command()
def curation(
    labels: Annotated[list[Path], typer.Option("--labels", "-l", help="CSV or JSON with labels. Repeat for several.")],
    workspace: WorkspaceOption = None,
    run: RunOption = None,
    release: ReleaseOption = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write a page with plots to this HTML file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure flags, duplicate pairs and idle intervals against labels, and suggest thresholds.

    Labels are CSV files, told apart by their headers (stream_id, frame_idx, and any of blurry, dark, overexposed,
    low_information; stream_id_a, frame_idx_a, stream_id_b, frame_idx_b, duplicate; stream_id, start_idx, end_idx), or
    JSON with lists of such rows under frames, pairs and idle.

    Example: winnow evaluate curation --labels night.csv --out night.html
    """
    from jobs.cli.show import out as console
    from jobs.cli.show import print_json, print_table
    from jobs.evaluate import evaluate, page
    from jobs.labels import read_labels
    from jobs.query import View
    from jobs.workspace import Workspace, write_atomically

    place = Workspace.at(workspace)
    read = read_labels(labels)
    found = evaluate(View.of(place, run, release), read)
    if out is not None:
        names = ", ".join(path.name for path in labels)
        write_atomically(out, page(found, f"Winnow: {place.root.name} against labels", names).encode())
    plain = found.to_dict()
    if as_json:
        print_json(plain)
        return
    if plain["flags"]:
        columns = list(plain["flags"][0])
        print_table(columns, ([row[c] for c in columns] for row in plain["flags"]), "flags")
    if plain["groups"]:
        columns = list(plain["distances"][0])
        print_table(columns, ([row[c] for c in columns] for row in plain["distances"]), "pairs by Hamming distance")
        groups = plain["groups"]
        print_table(list(groups), [list(groups.values())], "pairs in one group")
    if plain["idle"]:
        columns = list(plain["idle"][0])
        print_table(columns, ([row[c] for c in columns] for row in plain["idle"]), "idle intervals")
    if out is not None:
        console.print(f"plots: {out.absolute()}", soft_wrap=True)
