"""Groups of commands whose help shows names of values instead of Python types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption


def _name_values(params: list[Any], ctx: Any) -> list[Any]:
    """Name the value of each option without a metavar: by its choices, else by its own name; none for a switch.

    By default the parser prints Python's types, and `<bool>` next to each switch.
    """
    for param in params:
        if isinstance(param, TyperOption) and param.metavar is None:
            kind = param.display_type(ctx).strip("<>")
            named = kind if "|" in kind else max(param.opts, key=len).lstrip("-").upper()
            param.metavar = "" if param.is_flag else named
    return params


class Command(TyperCommand):
    """A command whose options are shown without Python's types."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, those of the help among them."""
        return _name_values(super().get_params(ctx), ctx)


class Group(TyperGroup):
    """A group whose options are shown without Python's types."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, those of the help among them."""
        return _name_values(super().get_params(ctx), ctx)


class Commands(typer.Typer):
    """`typer.Typer` with the commands and groups of this module."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(cls=Group, no_args_is_help=True, **settings)

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Any], Any]:
        """Register a command as `typer.Typer.command` does."""
        return super().command(name, cls=Command, **settings)
