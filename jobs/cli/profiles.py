"""`winnow profiles`: built-in configurations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.cli.commands import Commands
from jobs.cli.options import JsonOption

if TYPE_CHECKING:
    from conf import Loaded

app = Commands(help="Configurations to start from.")


@app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """List the built-in profiles.

    Example: winnow profiles list
    """
    from conf import describe, load, profile_names
    from jobs.cli.json_output import print_json
    from jobs.cli.show import print_table

    found = [(name, describe(name), load(name).config.closed_stages) for name in profile_names()]
    if as_json:
        print_json([{"name": name, "description": text, "stages": stages} for name, text, stages in found])
    else:
        print_table(("profile", "what it is for"), [(name, text) for name, text, _ in found])


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A built-in profile, or a file that builds on one.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="One value on top. Repeat for several.", metavar="KEY=VALUE")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print a profile with all its values, including the defaults.

    Example: winnow profiles show quality
    """
    from conf import to_dict, to_yaml
    from jobs.cli.json_output import print_json

    config = _loaded(name, settings or ()).config
    if as_json:
        print_json(to_dict(config))
    else:
        typer.echo(to_yaml(config), nl=False)


@app.command()
def copy(
    name: Annotated[str, typer.Argument(help="A built-in profile.")],
    file: Annotated[Path, typer.Argument(help="The file to write, for --config after changes.")],
) -> None:
    """Write a profile to a file, complete and with what each key does, as a start for your own.

    Example: winnow profiles copy quality mine.yaml
    """
    from conf import ConfigError
    from conf.commented_profile import commented_profile
    from jobs.core.errors import UserError

    try:
        text = commented_profile(name)
    except ConfigError as error:
        raise UserError(error.problems) from error
    try:
        with open(file, "x", encoding="utf-8") as handle:
            handle.write(text)
    except FileExistsError as error:
        raise UserError(f"{file} exists; name another file, or remove it first") from error
    typer.echo(f"{file}: change it, then winnow run --config {file} …")


@app.command()
def check(
    files: Annotated[
        list[str], typer.Argument(help="Files, FILE.py:attribute, or built-in profiles.", metavar="FILE…")
    ],
    as_json: JsonOption = False,
) -> None:
    """Check configurations: unknown keys, wrong values, stages that do not go together. All problems at once.

    Example: winnow profiles check mine.yaml
    """
    from jobs.cli.json_output import print_json
    from jobs.core.errors import UserError

    problems: list[str] = []
    fine: list[dict[str, object]] = []
    for file in files:
        try:
            stages = _loaded(file).config.closed_stages
        except UserError as error:
            problems += [p if p.startswith(f"{file} ") else f"{file}: {p}" for p in error.problems]
            continue
        fine.append({"file": file, "stages": stages})
        if not as_json:
            typer.echo(f"{file}: fine, runs {', '.join(stages)}")
    if problems:
        raise UserError(problems)
    if as_json:
        print_json(fine)


def _loaded(name: str, settings: Sequence[str] = ()) -> Loaded:
    """Return a built-in profile or a file as a configuration."""
    from conf import ConfigError, load, profile_names
    from jobs.core.errors import UserError

    try:
        is_file = ".py:" in name or Path(name).suffix in {".yaml", ".yml"} or Path(name).exists()
        if name in profile_names() or not is_file:
            return load(name, settings=settings)
        return load(config=name, settings=settings)
    except ConfigError as error:
        raise UserError(error.problems) from error
