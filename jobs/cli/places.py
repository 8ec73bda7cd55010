"""Resolution of `--workspace` for commands that need a workspace which exists."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobs.storage.paths import Place
    from jobs.storage.store import Store


def root_of(workspace: str | None) -> Place:
    """Return the root of an existing workspace. Raises `UserError` if there is none."""
    from jobs.storage.workspace import Workspace

    return Workspace.at(workspace).require().root


def store_of(workspace: str | None) -> Store:
    """Return the tables of an existing workspace. Raises `UserError` if there is none."""
    from jobs.storage.store import Store

    return Store(root_of(workspace))
