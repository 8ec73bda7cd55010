"""Where a server that serves a workspace, alone or among others, has its app database."""

from __future__ import annotations

from pathlib import Path

from jobs.storage.workspace import DEFAULT, Workspace
from jobs.web.places import single_name
from jobs.web.settings import FOLDER

ACCOUNTS = "accounts.sqlite"


def app_databases(workspace: Workspace) -> list[tuple[Path, str]]:
    """Return the files of app databases that a workspace may be in, and its name there; they need not exist."""
    on_disk = workspace.root.on_disk()
    if on_disk is None:
        return []
    folder = Path(on_disk).absolute()
    found = [(folder / FOLDER / ACCOUNTS, single_name(str(folder))), (folder.parent / FOLDER / ACCOUNTS, folder.name)]
    if folder.name == DEFAULT:
        found.append((folder.parent.parent / FOLDER / ACCOUNTS, folder.parent.name))
    return found
