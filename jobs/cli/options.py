"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

WorkspaceOption = Annotated[
    str | None,
    typer.Option("--workspace", "-w", help="Folder of the tables.", envvar="WINNOW_WORKSPACE", show_default=".winnow"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
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
InputsOption = Annotated[
    list[str],
    typer.Option(
        "--input", "-i", help="A folder of frames, a clip, or a folder of such. Repeat for several.", metavar="PATH"
    ),
]


def _no_file(profile: str | None) -> str | None:
    from jobs.core.errors import UserError

    if profile and (profile.endswith((".yaml", ".yml")) or ".py:" in profile):
        raise UserError(
            f"--profile {profile}: expected a built-in configuration; a file is given as --config {profile}"
        )
    return profile


ProfileOption = Annotated[
    str | None,
    typer.Option("--profile", help="Built-in configuration to start from.", show_default="quality", callback=_no_file),
]
ConfigOption = Annotated[
    str | None, typer.Option("--config", help="YAML file or FILE.py:attribute on top of the profile.")
]
SettingsOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="One value on top of all, as in duplicates.hamming=8. Repeat.", metavar="KEY=VALUE"),
]
StreamIdsOption = Annotated[
    list[str] | None,
    typer.Option("--stream-id", help="Id for the input; once for each --input.", metavar="ID", show_default="its name"),
]
RebindOption = Annotated[bool, typer.Option("--rebind", help="Let a stream id stand for another place than before.")]
AllowMissingOption = Annotated[
    bool, typer.Option("--allow-missing", help="Go on although over 10 % of a stream's frames are gone.")
]
RereadOption = Annotated[
    bool,
    typer.Option("--reread", help="Read every file, also those whose size and mtime say that they are as before."),
]
LimitOption = Annotated[int | None, typer.Option("--limit", min=0, help="Measure at most so many more frames.")]
RayOption = Annotated[
    str | None,
    typer.Option("--ray-address", help="Run on this Ray cluster.", metavar="ADDR", show_default="$RAY_ADDRESS"),
]


DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would be computed and why; do nothing.")]


class OnError(StrEnum):
    """What becomes of a frame that cannot be computed."""

    quarantine = "quarantine"
    abort = "abort"


OnErrorOption = Annotated[
    OnError,
    typer.Option(
        "--on-error", help="What a frame that cannot be read or measured does: is set aside, or ends the run."
    ),
]
PauseAfterOption = Annotated[
    str | None,
    typer.Option("--pause-after", help="Pause when this stage is done; `winnow job resume` goes on.", metavar="STAGE"),
]
