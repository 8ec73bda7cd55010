"""Inputs of runs by a name of their workspace: `upload:match7/clip.mp4`, a file or folder that somebody sent.

Timelines, `timeline:match-7`, are names too; what they are is known once the tables are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from jobs.core.errors import UserError
from jobs.ingest.chunks import TIMELINE
from jobs.storage.workspace import Workspace
from jobs.uploads.upload_store import FILES, FOLDER

UPLOAD = "upload:"


def is_named(given: str) -> bool:
    """Return whether an input is a name in a workspace, and no path."""
    return given.startswith((UPLOAD, TIMELINE))


def resolved(workspace: Workspace, inputs: Sequence[str]) -> tuple[str, ...]:
    """Return inputs with the paths of those that are uploads. Raises `UserError` with all names that nothing has."""
    problems: list[str] = []
    found = tuple(_path_of(workspace, given, problems) if given.startswith(UPLOAD) else given for given in inputs)
    if problems:
        raise UserError(problems)
    return found


def _path_of(workspace: Workspace, given: str, problems: list[str]) -> str:
    name = given.removeprefix(UPLOAD)
    folder = workspace.root.on_disk()
    parts = PurePosixPath(name).parts
    if folder is not None and parts and "/" not in parts and ".." not in parts:
        at = folder / FOLDER / FILES / name
        if at.exists():
            return str(at)
    problems.append(f"input {given}: expected the name of an upload that is ready; the page of uploads lists them")
    return given
