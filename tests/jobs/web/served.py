"""A server in a thread of the tests, with people of every role, and clients that ask it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from jobs.accounts import members
from jobs.accounts.database import Database
from jobs.accounts.people import Person
from jobs.accounts.roles import ROLES
from jobs.storage.workspace import Workspace
from jobs.web import serve
from jobs.web.app import create_app
from jobs.web.identity import cookie_name
from jobs.web.settings import Settings
from tests.accounts import TESTS, add_person, begin_session, opened
from tests.waiting import PATIENCE_S, wait_until

API = "/api/v1"
PROJECT, OTHER = "crossing", "yard"


@dataclass(frozen=True)
class Site:
    """A server and what its tests know of it; `people` has one person of each role, and others, by name."""

    settings: Settings
    database: Database
    app: Any
    port: int
    people: Mapping[str, Person]

    @property
    def url(self) -> str:
        """Return the address that the server listens at."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def origin(self) -> str:
        """Return the origin of its pages."""
        return self.settings.address(self.port)

    def client(self, who: str | None = None, **headers: str) -> httpx.Client:
        """Return a browser, in which somebody is signed in."""
        token = None if who is None else begin_session(self.database, self.people[who])
        return self.browser(token, **headers)

    def browser(self, token: str | None = None, **headers: str) -> httpx.Client:
        """Return a browser with a cookie, whose requests come from a page of the server."""
        own = {"host": self.origin.partition("://")[2], "origin": self.origin}
        cookies = {} if token is None else {"cookie": f"{cookie_name(self.settings)}={token}"}
        return httpx.Client(base_url=self.url, headers={**own, **cookies, **headers}, timeout=PATIENCE_S, verify=False)

    def program(self, key: str) -> httpx.Client:
        """Return a program with a key."""
        return httpx.Client(
            base_url=self.url, headers={"authorization": f"Bearer {key}"}, timeout=PATIENCE_S, verify=False
        )


def make_root(folder: Path) -> Path:
    """Make a folder with two empty projects."""
    for name in (PROJECT, OTHER):
        Workspace.at(folder / name).create()
    return folder


@contextmanager
def served(root: Path, url: str | None = None, **options: Any) -> Iterator[Site]:
    """Serve a folder with two projects, with accounts at a URL (SQLite below the folder by default)."""
    make_root(root)
    settings = replace(Settings(root=root, port=0, has_pages=False), **options)
    database = opened(url) if url else serve.database_of(settings)
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    port = listener.getsockname()[1]
    stopping = threading.Event()
    app = create_app(settings, database, port, is_stopping=stopping)
    server = serve.server_of(settings, app, stopping)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started, every_s=0.005)
        yield Site(settings, database, app, port, _people(database))
    finally:
        stopping.set()
        server.should_exit = True
        thread.join()
        listener.close()
        database.close()


def _people(database: Database) -> dict[str, Person]:
    """Make one person of each role in the project, a member of the other project alone, and two admins."""
    made: dict[str, Person] = {role: add_person(database, f"{role}-of-crossing") for role in ROLES}
    made["stranger"] = add_person(database, "stranger")
    made["root"] = add_person(database, "root", is_admin=True)
    made["second"] = add_person(database, "second", is_admin=True)

    def put(connection: Any) -> None:
        for role in ROLES:
            members.put(connection, TESTS, PROJECT, made[role].user_id, role)
        members.put(connection, TESTS, OTHER, made["stranger"].user_id, "admin")

    database.write(put)
    return made


def raw(site: Site, *parts: bytes, wait_s: float = 30, ends: bool = False) -> bytes:
    """Send bytes as they are and return all that comes back until the server closes or nothing more comes."""
    with socket.create_connection(("127.0.0.1", site.port)) as client:
        client.settimeout(wait_s)
        try:
            for part in parts:
                client.sendall(part)
            if ends:
                client.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        received = b""
        try:
            while more := client.recv(65536):
                received += more
        except TimeoutError:
            return received + b"<no end>"
        except ConnectionResetError:
            # It was closed while something that nobody read was on its way.
            pass
        return received


def head(site: Site, start: str, *lines: str) -> bytes:
    return "\r\n".join([f"{start} HTTP/1.1", f"Host: 127.0.0.1:{site.port}", *lines, "", ""]).encode()


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])
