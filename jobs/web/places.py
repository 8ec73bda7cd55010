"""Where a server keeps what is its own: accounts, its lock, and images that it can make again."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from jobs.core.errors import UserError
from jobs.storage import paths
from jobs.storage.paths import Place
from jobs.storage.workspace import Workspace
from jobs.web.settings import FOLDER, Settings


def checked_place(settings: Settings) -> Place:
    """Return the place of what is served. Raises `UserError` where it is not there."""
    if settings.root is not None:
        if not settings.root.is_dir():
            raise UserError(f"--root: expected a folder of workspaces, found none at {settings.root}")
        return paths.absolute(str(settings.root))
    return Workspace.at(settings.workspace).require().root


def places_of(settings: Settings) -> dict[str, str]:
    """Return how to name the places of a server to people who may not know them, by path.

    A project is named as people know it; what is below the folder of several begins with the name of one.
    """
    if settings.root is not None:
        root = str(paths.absolute(str(settings.root)))
        return {f"{root}/": "", root: "the server's folder"}
    assert settings.workspace is not None
    return {str(paths.absolute(settings.workspace)): single_name(settings.workspace)}


def server_folder(settings: Settings) -> Path:
    """Return the folder of the accounts: below what is served, or of this machine where that is in a bucket."""
    place = checked_place(settings)
    folder = place.on_disk()
    if folder is not None:
        return Path(folder) / FOLDER
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "winnow" / hashlib.sha256(str(place).encode()).hexdigest()[:16]


def single_name(workspace: str) -> str:
    """Return the name of a workspace that is served alone: its folder's, for a hidden one that of its parent."""
    if "://" in workspace:
        return workspace.rstrip("/").rpartition("/")[2] or "workspace"
    path = Path(workspace).absolute()
    return (path.parent.name if path.name.startswith(".") else path.name) or "workspace"
