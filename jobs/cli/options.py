"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

WorkspaceOption = Annotated[
    str | None,
    typer.Option("--workspace", "-w", help="Folder of the tables.", envvar="WINNOW_WORKSPACE", show_default=".winnow"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object, for programs.")]
RunOption = Annotated[
    str | None,
    typer.Option("--run", help="Read what this run ended with, not the newest rows.", metavar="ID"),
]
ReleaseOption = Annotated[
    str | None,
    typer.Option("--release", help="Read what this release froze, not the newest rows.", metavar="NAME"),
]
WhereOption = Annotated[
    str | None,
    typer.Option("--where", help="Only rows for which this SQL condition on `curated` holds.", metavar="SQL"),
]
RayOption = Annotated[
    str | None,
    typer.Option("--ray-address", help="Run on this Ray cluster.", metavar="ADDR", show_default="$RAY_ADDRESS"),
]


class OnError(StrEnum):
    """What becomes of a frame that cannot be computed."""

    quarantine = "quarantine"
    abort = "abort"
