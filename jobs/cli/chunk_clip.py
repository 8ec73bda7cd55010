"""`winnow chunk`: parts of a long clip, named together as an input of runs."""

from __future__ import annotations

from getpass import getuser
from pathlib import Path
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
    write: Annotated[
        Path | None,
        typer.Option(
            "--write",
            help="Also write each chunk as an MP4 file, without sound; FOLDER/NAME-0000.mp4.",
            metavar="FOLDER",
        ),
    ] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Cut a clip into chunks, a timeline, which runs take as --input timeline:NAME.

    Nothing is written but rows of the table `chunks`: a chunk is a view of frames, and a frame in two timelines is
    measured once. Scenes are those of the workspace (stage `scenes`); chunks by scenes and by minutes cover each frame
    exactly once. Times of marks are seconds or hours:minutes:seconds after the first frame. Files of --write hold
    packets as they are where a chunk begins and ends at keyframes, and are encoded where it does not.

    Example: winnow chunk --input match.mp4 --by minutes=10 --name match-7
    """
    from jobs.cli.json_output import print_json
    from jobs.cli.show import print_table
    from jobs.ingest import chunks
    from jobs.storage.store import Store
    from jobs.storage.workspace import Workspace

    store = Store(Workspace.at(workspace).create().root)
    found = chunks.create(store, input, by, name, getuser())
    if write is not None:
        found = chunks.write(store, name, write)
    if as_json:
        print_json({"timeline": name, "chunks": found})
        return
    columns = ("chunk", "from", "to", "frames", "title")
    shown = [
        (row["chunk_idx"], f"{row['start_s']:.2f} s", f"{row['end_s']:.2f} s", row["n_frames"], row["title"])
        for row in found
    ]
    print_table(columns, shown)
    if write is not None:
        copied = sum(row["written"] == "copied" for row in found)
        typer.echo(f"{len(found)} files below {write}: {copied} copied, {len(found) - copied} encoded")
    typer.echo(f"timeline {name}: {len(found)} chunks; --input timeline:{name}")
