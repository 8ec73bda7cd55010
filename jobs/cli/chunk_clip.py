"""`winnow chunk`: parts of a long clip, named together as an input of runs."""

from __future__ import annotations

from getpass import getuser
from typing import Annotated

import typer

from jobs.cli.options import JsonOption, WorkspaceOption


def chunk(
    input: Annotated[str, typer.Option("--input", help="The clip.", metavar="CLIP")],  # noqa: A002 - the option
    by: Annotated[
        str,
        typer.Option(
            help="Where to cut: scenes, minutes=N, or a CSV file with the columns start, end, title.",
            metavar="scenes|minutes=N|FILE",
        ),
    ],
    name: Annotated[str, typer.Option(help="Name of the timeline.")],
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Cut a clip into chunks, a timeline, which runs take as --input timeline:NAME.

    Nothing is written but rows of the table `chunks`: a chunk is a view of frames, and a frame in two timelines is
    measured once. Scenes are those of the workspace (stage `scenes`); chunks by scenes and by minutes cover each frame
    exactly once. Times of marks are seconds or hours:minutes:seconds after the first frame.

    Example: winnow chunk --input match.mp4 --by minutes=10 --name match-7
    """
    from jobs.cli.json_output import print_json
    from jobs.cli.show import print_table
    from jobs.ingest.chunks import create
    from jobs.storage.store import Store
    from jobs.storage.workspace import Workspace

    store = Store(Workspace.at(workspace).create().root)
    found = create(store, input, by, name, getuser())
    if as_json:
        print_json({"timeline": name, "chunks": found})
        return
    columns = ("chunk", "from", "to", "frames", "title")
    shown = [
        (row["chunk_idx"], f"{row['start_s']:.2f} s", f"{row['end_s']:.2f} s", row["n_frames"], row["title"])
        for row in found
    ]
    print_table(columns, shown)
    typer.echo(f"timeline {name}: {len(found)} chunks; --input timeline:{name}")
