"""Checks for optional packages before any work, with the command that installs them."""

from __future__ import annotations

from importlib.util import find_spec

from jobs.core.errors import UserError


def missing(extra: str, *modules: str) -> list[str]:
    """Return a message for each module that is not installed and belongs to this extra."""
    return [
        f"{name} is not installed; it comes with: pip install 'winnow[{extra}]'"
        for name in modules
        if find_spec(name) is None
    ]


def require(extra: str, *modules: str) -> None:
    """Raise `UserError` if one of these modules is not installed."""
    if problems := missing(extra, *modules):
        raise UserError(problems)
