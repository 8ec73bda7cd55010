"""Groups of commands, whose help names values as they are called and says nothing of the type of a switch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption


def _name_values(params: list[Any], ctx: Any) -> list[Any]:
    """Give options that have no word for their value the choices, else their own name; none to switches.

    By itself the parser would print Python's types, and `<bool>` beside each switch.
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
    """What `typer.Typer` is, with commands and groups of this module."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(cls=Group, no_args_is_help=True, **settings)

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Any], Any]:
        """Register a command as `typer.Typer.command` does."""
        return super().command(name, cls=Command, **settings)
