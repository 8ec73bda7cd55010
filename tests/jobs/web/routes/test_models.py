"""Models by requests: evidence, promotion by two at once, and who may."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.dispatch.job_queue import JobQueue
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from tests.helpers import go, write_noise_stream
from tests.jobs.evaluation.test_promotion import add_version, compared, measured
from tests.web_server import WebServer, lines, web_server

pytestmark = pytest.mark.process


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    """Return a workspace with two versions of the model yard, both measured."""
    found = Workspace.at(tmp_path / "tables")
    go(found, write_noise_stream(tmp_path / "cam", range(2)))
    store = Store(found.root)
    for number in (1, 2):
        add_version(store, found.folder, number)
        measured(store, number)
    return found


@pytest.fixture
def server(place: Workspace) -> Iterator[WebServer]:
    """Return a server of it."""
    with web_server(place) as found:
        yield found


def test_of_two_who_promote_one_gets_409(server: WebServer) -> None:
    """Both have seen that there is no champion."""
    versions = f"{server.project}/models/yard/versions"
    first = server.admin.post(f"{versions}/1/promote", json={"expect": 0, "reason": "the first"})
    assert (first.status_code, first.json()["version"]) == (200, 1), first.text
    lead = server.client(server.person("lead", "admin"))
    second = lead.post(f"{versions}/2/promote", json={"expect": 0})
    assert second.status_code == 409
    [change] = lead.get(f"{server.project}/models/yard/history").json()["history"]
    assert (change["by"], change["evaluation_id"], change["is_forced"]) == ("admin", "e1", False)


def test_evidence_is_shown_and_needed(server: WebServer, place: Workspace) -> None:
    """The clause that does not hold is what a promotion answers with; admins of the server alone force one."""
    versions = f"{server.project}/models/yard/versions"
    assert server.admin.post(f"{versions}/1/promote", json={}).status_code == 200
    compared(Store(place.root), "not_better")
    found = server.admin.get(f"{versions}/2/evidence").json()
    against = [each["text"] for each in found["clauses"] if not each["holds"]]
    assert (found["holds"], found["champion"], len(against)) == (False, 1, 1)
    refused = server.admin.post(f"{versions}/2/promote", json={})
    assert refused.status_code == 409
    assert any("not better for sure" in line for line in lines(refused))
    lead = server.client(server.person("lead", "admin"))
    assert lead.post(f"{versions}/2/promote", json={"force": "vans"}).status_code == 403
    forced = server.admin.post(f"{versions}/2/promote", json={"force": "vans"})
    assert (forced.status_code, forced.json()["is_forced"], forced.json()["reason"]) == (200, True, "vans")
    back = lead.post(f"{server.project}/models/yard/rollback", json={"reason": "no better"})
    assert (back.status_code, back.json()["version"]) == (200, 1)


def test_models_are_listed_with_what_is_known_of_them(server: WebServer) -> None:
    """Figures, evaluations, aliases; unknown ones are 404."""
    server.admin.post(f"{server.project}/models/yard/versions/1/promote", json={})
    viewer = server.client(server.person("viewer", "viewer"))
    one, two = viewer.get(f"{server.project}/models").json()["models"]
    assert (one["version"], one["aliases"], one["evaluations"][0]["ap"]) == (1, ["champion"], 0.7)
    assert (two["version"], two["aliases"], two["onnx"]) == (2, [], None)
    shown = viewer.get(f"{server.project}/evaluations/e1").json()
    assert (shown["ap"], shown["comparisons"]) == (0.7, [])
    for path in ("models/gate/history", "models/yard/versions/9/evidence", "evaluations/e9"):
        assert viewer.get(f"{server.project}/{path}").status_code == 404, path
    assert viewer.post(f"{server.project}/models/yard/versions/2/promote", json={}).status_code == 403


def test_evaluations_go_to_the_queue(server: WebServer, place: Workspace) -> None:
    """With who requested them."""
    body = {"model": "yard@2", "on": "release:v1/test", "against": "yard@1"}
    job_id = server.admin.post(f"{server.project}/evaluations", json=body).json()["job_id"]
    [job] = [job for job in JobQueue(place.root).jobs() if job.job_id == job_id]
    assert (job.kind, job.submitted["task"]["by"]) == ("evaluate", "admin")
    assert server.admin.post(f"{server.project}/evaluations", json=body | {"by": "somebody"}).status_code == 422
    unknown = server.admin.post(f"{server.project}/evaluations", json=body | {"model": "yard@9"})
    assert (unknown.status_code, lines(unknown)) == (400, ["yard@9: yard has the versions 1, 2"])
