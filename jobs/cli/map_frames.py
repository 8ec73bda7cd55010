"""`winnow map`: places of frames on a plane, for the map of the pages."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.cli.options import JsonOption, WorkspaceOption
from jobs.core.choices import CompareBy
from jobs.core.naming import many


def map(  # noqa: A001 - the command
    by: Annotated[
        CompareBy, typer.Option(help="What frames are near one another by: what they show, or their layouts.")
    ] = "embedding",
    neighbours: Annotated[
        int, typer.Option(help="How many neighbours stay neighbours: few show small groups, many the whole.", min=2)
    ] = 15,
    min_distance: Annotated[float, typer.Option(help="How near points may be to each other.", min=0, max=1)] = 0.1,
    seed: Annotated[int, typer.Option(help="Seed of the random numbers.", min=0)] = 0,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Place all frames on a plane by UMAP, so that frames that look alike are near one another.

    The places are in the table `projections`, and the map of `winnow serve` shows them; it shows principal components
    without this. One map of each kind is kept.

    Example: winnow map --by layout
    """
    from jobs.cli.json_output import print_json
    from jobs.cli.show import out
    from jobs.datasets.frame_map import MapRequest, make_map
    from jobs.storage.workspace import Workspace

    found = make_map(Workspace.at(workspace), MapRequest(by, neighbours, min_distance, seed))
    if as_json:
        print_json(found)
        return
    out.print(f"map {found['name']}: {many(found['frames'], 'frame')} by {by}")
