"""A server's application in this process, and people who ask it things."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.testclient import TestClient

from jobs.accounts import invitations, keys, members, people, sessions
from jobs.accounts.audit import Actor
from jobs.accounts.database import Database
from jobs.accounts.people import Person
from jobs.storage.workspace import Workspace
from jobs.web.app import create_app
from jobs.web.serve import database_of
from jobs.web.settings import Settings

PORT = 8080
ORIGIN = f"http://127.0.0.1:{PORT}"
API = f"{ORIGIN}/api/v1"
TESTS = Actor("tests")


class WebServer:
    """An application with its accounts; `admin` is signed in, and `project` is the address of its only project."""

    def __init__(self, app: FastAPI, database: Database, project: str) -> None:
        self.app = app
        self.database = database
        self.name = project
        self.project = f"{API}/projects/{project}"
        self.admin = self.client(self.person("admin", is_admin=True))

    def person(self, name: str, role: str | None = None, is_admin: bool = False) -> Person:
        """Make an account without a password, with a role in the project."""
        made = self.database.write(lambda c: people.add(c, TESTS, name, None, is_admin=is_admin))
        if role is not None:
            self.database.write(lambda c: members.put(c, TESTS, self.name, made.user_id, role))
        return made

    def client(self, person: Person | None) -> TestClient:
        """Return a browser in which somebody is signed in, or nobody."""
        cookies = {}
        if person is not None:
            cookies["winnow"] = self.database.write(lambda c: sessions.begin(c, person.user_id, "127.0.0.1", "tests"))
        return TestClient(
            self.app,
            base_url=ORIGIN,
            cookies=cookies,
            headers={"origin": ORIGIN},
            raise_server_exceptions=False,
            client=("127.0.0.1", 50000),
        )

    def program(self, person: Person, *scopes: str, project: str | None = None) -> TestClient:
        """Return a program with a key of somebody."""
        _, text = self.database.write(lambda c: keys.add(c, TESTS, person.user_id, "tests", scopes, project))
        headers = {"authorization": f"Bearer {text}"}
        return TestClient(self.app, base_url=ORIGIN, headers=headers, raise_server_exceptions=False)

    def entrance(self) -> str:
        """Return the token of a new one-time address."""
        return self.database.write(lambda c: invitations.entrance(c, TESTS))


@contextmanager
def web_server(workspace: Workspace | Path, **options: Any) -> Iterator[WebServer]:
    """Serve a workspace, or with `is_root` a folder of them, in this process."""
    place = workspace if isinstance(workspace, Path) else Path(str(workspace.root))
    is_root = options.pop("is_root", False)
    served: dict[str, Any] = {"root": place} if is_root else {"workspace": str(place)}
    settings = Settings(**served, port=PORT, has_pages=False, **options)
    database = database_of(settings)
    try:
        app = create_app(settings, database, PORT)
        yield WebServer(app, database, place.name)
    finally:
        database.close()


def lines(response: Any) -> list[str]:
    """Return the lines of a problem."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    found: list[str] = response.json()["lines"]
    return found
