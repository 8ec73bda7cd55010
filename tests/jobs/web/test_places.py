"""Workspaces that were moved, or that a newer version has written, under a server: each request says what to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.core.errors import UnusableWorkspaceError
from jobs.storage.workspace import Workspace
from jobs.web.projects import Projects
from jobs.web.settings import Settings
from tests.helpers import go, write_noise_stream
from tests.jobs.web.served import API, PROJECT, Site, served

_READS = (
    *("overview", "streams", "jobs", "runs", "frames", "facets", "thresholds", "releases", "selections", "exports"),
    *("schedules", "overrides", "columns", "map", "review/queue", "media/frame?stream=cam&idx=0&w=320"),
)


pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with three frames."""
    folder = tmp_path_factory.mktemp("moved")
    go(Workspace.at(folder / "tables"), write_noise_stream(folder / "cam", range(3)))
    return folder / "tables"


@pytest.fixture
def measured(tmp_path: Path, tables: Path) -> Iterator[Site]:
    """A server of two projects, the first of which has frames."""
    root = tmp_path / "root"
    shutil.copytree(tables, root / PROJECT)
    with served(root) as site:
        yield site


def _root(site: Site) -> Path:
    assert site.settings.root is not None
    return site.settings.root


def _statuses(site: Site, who: str) -> set[int]:
    client = site.client(who)
    return {client.get(f"{API}/projects/{PROJECT}/{path}").status_code for path in _READS}


def test_nothing_is_written_to_the_place_that_a_workspace_was_moved_from(tmp_path: Path) -> None:
    folder = tmp_path / "gate"
    projects = Projects(Settings(workspace=str(folder)))
    with pytest.raises(UnusableWorkspaceError, match="project gate: its workspace is not there any more"):
        projects.named("gate").workspace()
    assert len(projects.unusable()) == 1
    assert not folder.exists()


def test_a_moved_project_is_missing_until_it_is_back(measured: Site) -> None:
    assert _statuses(measured, "viewer") == {200}
    folder, elsewhere = _root(measured) / PROJECT, _root(measured).parent / "elsewhere"
    folder.rename(elsewhere)
    client = measured.client("admin")
    assert _statuses(measured, "admin") == {404}
    body = {"options": {"inputs": ["cam"]}}
    assert client.post(f"{API}/projects/{PROJECT}/jobs", json=body).status_code == 404
    assert client.get(f"{API}/ready").status_code == 200, "the other project can be used"
    assert not folder.exists()
    elsewhere.rename(folder)
    assert _statuses(measured, "viewer") == {200}


def test_a_moved_root_is_named_to_admins_of_the_server_alone(measured: Site) -> None:
    root = _root(measured)
    clients = {who: measured.client(who) for who in ("root", "viewer")}
    # Sessions are found as long as the file of the accounts is open.
    assert {client.get(f"{API}/me").status_code for client in clients.values()} == {200}
    root.rename(root.with_name("elsewhere"))
    for who, client in clients.items():
        answer = client.get(f"{API}/projects/{PROJECT}/overview")
        assert answer.status_code == 503, answer.text
        (line,) = answer.json()["lines"]
        assert (str(root) in line) == (who == "root"), line
        assert "serve it from its new place" in line
    assert measured.client().get(f"{API}/ready").status_code == 503
    root.with_name("elsewhere").rename(root)
    assert _statuses(measured, "viewer") == {200}


def test_a_workspace_of_a_newer_version_asks_for_that_version(measured: Site) -> None:
    marker = _root(measured) / PROJECT / "winnow.json"
    before = marker.read_text()
    marker.write_text(json.dumps({"format": 99, "created_by": "winnow 9.1"}))
    for who in ("root", "viewer"):
        client = measured.client(who)
        for path in _READS:
            answer = client.get(f"{API}/projects/{PROJECT}/{path}")
            assert answer.status_code == 503, (path, answer.text)
            (line,) = answer.json()["lines"]
            assert "format 99, written by winnow 9.1" in line
            assert line.endswith("upgrade winnow")
            assert (str(_root(measured)) in line) == (who == "root")
    ready = measured.client().get(f"{API}/ready")
    assert (ready.status_code, ready.json()["unusable_projects"]) == (200, 1)
    marker.write_text(before)
    assert _statuses(measured, "viewer") == {200}


def test_errors_of_the_system_name_no_folders_to_people_of_a_project(measured: Site) -> None:
    # A data file that was lost: the tables still name it.
    for lost in (_root(measured) / PROJECT / "frames").rglob("*.parquet"):
        lost.unlink()
    lines = {}
    for who in ("root", "viewer"):
        answer = measured.client(who).get(f"{API}/projects/{PROJECT}/frames/cam/0")
        if answer.status_code == 404:
            answer = measured.client(who).get(f"{API}/projects/{PROJECT}/media/frame?stream=cam&idx=0&w=320")
        assert answer.status_code == 503, answer.text
        (lines[who],) = answer.json()["lines"]
    assert str(_root(measured)) in lines["root"]
    assert str(_root(measured).parent) not in lines["viewer"]
    assert ".parquet cannot be read: it is not there" in lines["viewer"]
