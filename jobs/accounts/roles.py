"""Roles in a project, from the one that may least, and the scopes of keys."""

from __future__ import annotations

from typing import Literal, get_args

Role = Literal["viewer", "annotator", "reviewer", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)

Scope = Literal["read", "annotate", "review", "submit", "control", "upload", "train", "promote", "metrics", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)


def includes(role: Role, needed: Role) -> bool:
    """Return whether a role may do what another one may: higher ones include lower ones."""
    return ROLES.index(role) >= ROLES.index(needed)
