"""`winnow report`: one HTML page about the data."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.cli.options import ReleaseOption, RunOption, WorkspaceOption


def report(
    out: Annotated[str, typer.Option("--out", "-o", help="The HTML file to write.")],
    workspace: WorkspaceOption = None,
    run: RunOption = None,
    release: ReleaseOption = None,
) -> None:
    """Write one HTML file with timelines, histograms and contact sheets; it needs no network.

    Example: winnow report --out report.html
    """
    from jobs.analysis.report import render
    from jobs.cli.show import out as console
    from jobs.storage import paths
    from jobs.storage.workspace import Workspace

    page = render(Workspace.at(workspace), run, release)
    place = paths.absolute(out)
    place.write(page.encode())
    console.print(f"report: {place}", soft_wrap=True)
