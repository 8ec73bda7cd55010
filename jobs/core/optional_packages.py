"""Libraries that not every job needs: asked for before any work, with the command that brings them."""

from __future__ import annotations

from importlib.util import find_spec

from jobs.core.errors import UserError


def missing(extra: str, *modules: str) -> list[str]:
    """Return a line for each library that is not installed and comes with an extra of this package."""
    return [
        f"{name} is not installed; it comes with: pip install 'winnow[{extra}]'"
        for name in modules
        if find_spec(name) is None
    ]


def require(extra: str, *modules: str) -> None:
    """Raise `UserError` if one of these libraries is not installed."""
    if problems := missing(extra, *modules):
        raise UserError(problems)
