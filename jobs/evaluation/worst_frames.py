"""The name of the selection of the frames on which a version of a model errs most."""

from __future__ import annotations


def worst_named(name: str, version: int) -> str:
    """Return the name of that selection: `worst-yard-3` for yard@3."""
    return f"worst-{name}-{version}"
