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
    from jobs.cli.next_steps import print_next_steps
    from jobs.cli.show import out as console
    from jobs.datasets.release import free_name
    from jobs.storage import paths
    from jobs.storage.store import Store
    from jobs.storage.workspace import Workspace

    page = render(Workspace.at(workspace), run, release)
    place = paths.absolute(out)
    place.write(page.encode())
    console.print(f"report: {place}", soft_wrap=True, markup=False)
    root = Workspace.at(workspace).root
    steps: list[tuple[str, ...]] = [("select", "--n", "100", "--name", "first")]
    if release:
        steps.append(("export", "--format", "coco", "--release", release, "--out", f"{release}-coco"))
    else:
        steps.append(("release create", free_name(Store(root))))
    print_next_steps(root, *steps)
