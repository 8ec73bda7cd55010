"""The program `winnow`: its commands and groups of commands by name, imported when they are called."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from types import ModuleType

import typer

from jobs.cli.commands import Commands

_COMMANDS = (
    "run",
    "submit",
    "top",
    "demo",
    "sql",
    "report",
    "select",
    "map",
    "export",
    "train",
    "doctor",
    "serve",
    "upload",
    "chunk",
    "serve-models",
)
_GROUPS = (
    "inspect",
    "gateway",
    "schedule",
    "arrivals",
    "job",
    "release",
    "review",
    "overrides",
    "brands",
    "labels",
    "evaluate",
    "profiles",
    "models",
    "loop",
    "tables",
    "user",
    "key",
    "project",
)
_ELSEWHERE = {"chunk": "chunk_clip", "map": "map_frames", "select": "select_frames", "inspect": "inspection"}
"""Modules that are not called as their command is, since the standard library or Python has that name."""


@cache
def program(first: str | None = None) -> Commands:
    """Return the program as a command line that begins with this word needs it: with that command, else with all.

    To import every command, and to make its options, takes longer than most commands do.
    """
    app = Commands(
        name="winnow",
        help="Turn recorded camera streams into curated, versioned datasets.",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    known = first in _COMMANDS or first in _GROUPS
    for name in _COMMANDS:
        if not known or name == first:
            app.command(name)(getattr(_module(name), _attribute(name)))
    for name in _GROUPS:
        if not known or name == first:
            app.add_typer(_module(name).app, name=name)
    return app


def _module(name: str) -> ModuleType:
    return import_module(f"jobs.cli.{_ELSEWHERE.get(name, _attribute(name))}")


def _attribute(name: str) -> str:
    return name.replace("-", "_")


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version as installed

        typer.echo(f"winnow {installed('winnow')}")
        raise typer.Exit


def _options(
    _: bool = typer.Option(
        False, "--version", help="Print the version and exit.", is_eager=True, callback=_show_version
    ),
) -> None:
    """Options of the program itself."""
