"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.runs.run_option_help import RUN_OPTION_HELP as HELP

WorkspaceOption = Annotated[
    str | None,
    typer.Option("--workspace", "-w", help="Folder of the tables.", envvar="WINNOW_WORKSPACE", show_default=".winnow"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
RunOption = Annotated[
    str | None,
    typer.Option("--run", help="Read the versions that this run ended with, not the newest rows.", metavar="ID"),
]
ReleaseOption = Annotated[
    str | None,
    typer.Option("--release", help="Read the versions that this release froze, not the newest rows.", metavar="NAME"),
]
WhereOption = Annotated[
    str | None,
    typer.Option("--where", help="Only rows for which this SQL condition on `curated` holds.", metavar="SQL"),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would be computed and why; do nothing.")]


def _refuse_file(profile: str | None) -> str | None:
    """Return the name of a profile. Raises `UserError` for a file, which is given as `--config`."""
    from jobs.core.errors import UserError

    if profile and (profile.endswith((".yaml", ".yml")) or ".py:" in profile):
        raise UserError(
            f"--profile {profile}: expected a built-in configuration; a file is given as --config {profile}"
        )
    return profile


ProfileOption = Annotated[
    str | None,
    typer.Option("--profile", help=HELP["profile"], show_default="quality", callback=_refuse_file),
]
ConfigOption = Annotated[str | None, typer.Option("--config", help=HELP["config"])]
SettingsOption = Annotated[list[str] | None, typer.Option("--set", help=HELP["settings"], metavar="KEY=VALUE")]
RayOption = Annotated[
    str | None,
    typer.Option("--ray-address", help=HELP["ray_address"], metavar="ADDR", show_default="$RAY_ADDRESS"),
]
