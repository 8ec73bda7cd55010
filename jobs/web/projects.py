"""Projects: the workspaces that a server serves, by name. Paths come from folders, never from a request."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.core.errors import UnusableWorkspaceError, UserError
from jobs.core.naming import wrong_with
from jobs.storage.workspace import DEFAULT, Workspace
from jobs.web.places import single_name
from jobs.web.problems import MissingError, StateConflictError
from jobs.web.settings import Settings

_MARKER = "winnow.json"


@dataclass(frozen=True)
class Project:
    """A workspace and its name here."""

    name: str
    path: str

    def workspace(self) -> Workspace:
        """Return the workspace.

        Raises `UnusableWorkspaceError` where it is not there any more, since nothing may be written to a place that it
        was moved from; where it cannot be read; and where a newer version has written it.
        """
        found = Workspace.at(self.path)
        if not found.exists:
            raise UnusableWorkspaceError(
                f"project {self.name}: its workspace is not there any more, expected it at {self.path}; move it back, "
                "or stop the server and serve it from its new place"
            )
        return found


class Projects:
    """What a server serves: one workspace, or all in a folder."""

    def __init__(self, settings: Settings) -> None:
        self._root = settings.root
        self._single = settings.workspace

    def all(self) -> list[Project]:
        """Return the projects there are now, by name. Raises `UnusableWorkspaceError` where their folder is missing."""
        if self._single is not None:
            return [Project(single_name(self._single), self._single)]
        assert self._root is not None
        found = []
        try:
            folders = sorted(self._root.iterdir())
        except OSError as error:
            raise UnusableWorkspaceError(
                f"the folder of the workspaces, {self._root}, cannot be read: {error.strerror or error}; move it back, "
                "or stop the server and serve it from its new place"
            ) from error
        for folder in folders:
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

    def unusable(self) -> list[str]:
        """Return a line for each project that cannot be used; one line where their folder is missing."""
        found = []
        try:
            for project in self.all():
                try:
                    project.workspace()
                except (UserError, OSError) as error:
                    found.append(str(error))
        except UserError as error:
            found.append(str(error))
        return found

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
