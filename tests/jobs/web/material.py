"""A server in this process on a real workspace: two streams of images, one clip, and people of every kind."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx
from starlette.testclient import TestClient

from jobs.accounts import members, people, sessions
from jobs.accounts.audit import Actor
from jobs.accounts.database import Database, engine_of
from jobs.accounts.migrate import bring_up_to_date
from jobs.accounts.roles import Role
from jobs.storage.workspace import Workspace
from jobs.web.app import create_app
from jobs.web.settings import Settings

PORT = 8080
_ORIGIN = f"http://127.0.0.1:{PORT}"
_US = Actor("terminal")


@dataclass
class Server:
    """An application and its accounts."""

    client: TestClient
    database: Database
    project: str

    def sign_in(self, name: str, role: Role | None = None) -> httpx.Headers:
        """Return the headers of a new person, with a role in the project or none."""

        def add(connection: Any) -> str:
            person = people.add(connection, _US, name, None)
            if role is not None:
                members.put(connection, _US, self.project, person.user_id, role)
            return sessions.begin(connection, person.user_id, "testclient", "tests")

        token = self.database.write(add)
        return httpx.Headers({"cookie": f"winnow={token}"})

    def get(self, route: str, headers: httpx.Headers, **query: Any) -> httpx.Response:
        """Ask for a route of the project."""
        given = {name: value for name, value in query.items() if value is not None}
        answer = self.client.get(f"/api/v1/projects/{self.project}/{route}", params=given, headers=headers)
        # The client has a copy of the library under another name.
        return cast("httpx.Response", answer)


def served(workspace: Workspace, folder: Path, **options: Any) -> Server:
    """Return a server of one workspace, with more options of `Settings`; its accounts are in `folder`."""
    database = Database(engine_of(f"sqlite:///{folder / 'accounts.sqlite'}"))
    bring_up_to_date(database)
    settings = Settings(workspace=str(workspace.root), port=PORT, has_pages=False, **options)
    app = create_app(settings, database, PORT)
    project = app.state.projects.all()[0].name
    return Server(TestClient(app, base_url=_ORIGIN, raise_server_exceptions=True), database, project)
