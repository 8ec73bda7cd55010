"""Tests of a server that loads what reads tables with the first request for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from jobs.storage.workspace import Workspace
from jobs.web import serve
from jobs.web.app import create_app
from jobs.web.on_demand import OnDemand, create_first_app
from jobs.web.settings import Settings
from tests.accounts import add_person, begin_session

_PORT = 8080
_URL = f"http://127.0.0.1:{_PORT}"

_BEFORE_ANY_QUERY = """
import json, sys
from pathlib import Path
from starlette.testclient import TestClient
from jobs.web import serve
from jobs.web.on_demand import OnDemand, create_first_app
from jobs.web.settings import Settings

settings = Settings(root=Path(sys.argv[1]), port=8080, has_pages=False)
first = create_first_app(settings, serve.database_of(settings), 8080)
with TestClient(OnDemand(first, lambda: sys.exit("it was loaded")), base_url="http://127.0.0.1:8080") as client:
    answers = [client.get(f"/api/v1/{route}").status_code for route in ("health", "ready", "me", "projects")]
print(json.dumps([answers, sorted(sys.modules)]))
"""


@pytest.mark.process
def test_before_the_first_query_no_library_of_tables_and_images_is_imported(tmp_path: Path) -> None:
    Workspace.at(tmp_path / "crossing").create()
    command = [sys.executable, "-P", "-c", _BEFORE_ANY_QUERY, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    answers, modules = json.loads(done.stdout.splitlines()[-1])
    assert answers == [200, 200, 401, 401]
    assert not {"numpy", "pyarrow", "polars", "deltalake", "duckdb", "cv2", "av", "PIL", "schemas"} & set(modules)


@pytest.fixture
def loads(tmp_path: Path) -> tuple[TestClient, list[str]]:
    """A client of an admin, and what happens: `fails` in it has the next loading fail."""
    Workspace.at(tmp_path / "crossing").create()
    settings = Settings(root=tmp_path, port=_PORT, has_pages=False)
    database = serve.database_of(settings)
    happened: list[str] = []

    def whole() -> FastAPI:
        happened.append("loaded")
        if "fails" in happened:
            happened.remove("fails")
            raise ImportError("a library is broken")
        return create_app(settings, database, _PORT)

    cookie = f"winnow={begin_session(database, add_person(database, 'root', is_admin=True))}"
    app = OnDemand(create_first_app(settings, database, _PORT), whole)
    return TestClient(app, base_url=_URL, headers={"cookie": cookie}), happened


def test_a_request_for_tables_loads_them_once_and_others_do_not(loads: tuple[TestClient, list[str]]) -> None:
    client, happened = loads
    with client:
        assert client.get("/api/v1/me").json()["projects"] == [{"project": "crossing", "role": "admin"}]
        assert client.get("/api/v1/health").status_code == 200
        assert client.get("/somewhere/else").status_code == 404
        assert happened == []
        assert client.get("/api/v1/projects/crossing/streams").json() == {"streams": []}
        assert "/api/v1/projects/{project}/streams" in client.get("/api/v1/openapi.json").json()["paths"]
        assert client.get("/api/v1/me").status_code == 200
        assert happened == ["loaded"]


def test_what_could_not_be_loaded_is_tried_again(loads: tuple[TestClient, list[str]]) -> None:
    client, happened = loads
    with client:
        happened.append("fails")
        failed = client.get("/api/v1/projects/crossing/streams")
        assert (failed.status_code, failed.headers["content-type"]) == (500, "application/problem+json")
        assert client.get("/api/v1/projects/crossing/streams").status_code == 200
        assert happened == ["loaded", "loaded"]
