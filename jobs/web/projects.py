"""Projects: the workspaces that a server serves, by name. Paths come from folders, never from a request."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jobs.core.errors import UserError
from jobs.core.naming import wrong_with
from jobs.storage.workspace import DEFAULT, Workspace
from jobs.web.problems import MissingError, StateConflictError
from jobs.web.settings import Settings

_MARKER = "winnow.json"


@dataclass(frozen=True)
class Project:
    """A workspace and its name here."""

    name: str
    path: str

    def workspace(self) -> Workspace:
        """Return the workspace. Raises `UserError` where it cannot be read or a newer version has written it."""
        return Workspace.at(self.path)


class Projects:
    """What a server serves: one workspace, or all in a folder."""

    def __init__(self, settings: Settings) -> None:
        self._root = settings.root
        self._single = settings.workspace

    def all(self) -> list[Project]:
        """Return the projects there are now, by name."""
        if self._single is not None:
            return [Project(single_name(self._single), self._single)]
        assert self._root is not None
        found = []
        for folder in sorted(self._root.iterdir()):
            for place in (folder, folder / DEFAULT):
                if not folder.name.startswith(".") and (place / _MARKER).is_file():
                    found.append(Project(folder.name, str(place)))
                    break
        return found

    def named(self, name: str) -> Project:
        """Return a project. Raises `MissingError` where there is none of this name."""
        for project in self.all():
            if project.name == name:
                return project
        raise MissingError(f"there is no project {name[:100]!r}")

    def create(self, name: str) -> Project:
        """Make an empty workspace below the root. Raises `StateConflictError` where something of this name is there."""
        if self._root is None:
            raise StateConflictError("this server serves one workspace; `winnow serve --root FOLDER` serves several")
        if wrong := wrong_with("project", name):
            raise UserError(wrong)
        folder = self._root / name
        if folder.exists():
            raise StateConflictError(f"project {name}: there is something of this name")
        Workspace.at(folder).create()
        return Project(name, str(folder))


def single_name(workspace: str) -> str:
    """Return the name of a workspace that is served alone: its folder's, for a hidden one that of its parent."""
    if "://" in workspace:
        return workspace.rstrip("/").rpartition("/")[2] or "workspace"
    path = Path(workspace).absolute()
    return (path.parent.name if path.name.startswith(".") else path.name) or "workspace"
