"""Trainings by requests: the form, what speaks against one, what it takes, and its figures epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import schemas
from jobs.dispatch.job_queue import JobQueue
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from tests.training_material import CLASSES, SPLIT, labelled_workspace, trained
from tests.web_server import WebServer, lines, web_server

pytestmark = pytest.mark.process

OPTIONS: dict[str, Any] = {
    "release": "v1",
    "model": "torchvision:fasterrcnn-tiny",
    "name": "shapes",
    "split_by": "group",
    "split": SPLIT,
    "epochs": 2,
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Return a workspace with labelled images and their release; tests only add to it."""
    return labelled_workspace(tmp_path_factory.mktemp("trainings"), n=40)


@pytest.fixture(scope="module")
def server(place: Workspace) -> Iterator[WebServer]:
    """Return a server of it."""
    with web_server(place) as found:
        yield found


def test_the_form_is_that_of_the_options(server: WebServer) -> None:
    """Bounds and defaults are those that a request is checked by; models of which weights are missing say how."""
    found = server.admin.get(f"{server.project}/trainings/form").json()
    by_key = {each["key"]: each for each in found["options"]}
    about = ("form", "value", "low", "high", "unit", "needed")
    assert [by_key["size"][name] for name in about] == ["integer", 640, 32, 4096, "px", False]
    assert by_key["split"]["form"] == "shares"
    assert by_key["release"]["needed"]
    assert by_key["pseudo"]["none"]
    assert by_key["augment"]["choices"] == ["none", "minimal", "standard", "strong"]
    assert found["releases"] == ["v1"]
    models = {each["name"]: each for each in found["models"]}
    assert models["torchvision:fasterrcnn-tiny"]["problem"] is None
    assert "winnow models pull dfine-nano" in models["dfine-nano"]["problem"]


def test_the_preflight_says_what_a_training_learns_from(server: WebServer) -> None:
    """And gives the command that does the same."""
    body = {"options": OPTIONS}
    found = server.admin.post(f"{server.project}/trainings/preflight", json=body).json()
    assert set(found["classes"]) == set(CLASSES)
    assert set(found["images"]) == {"train", "val", "test"}
    assert found["command"][:2] == ["winnow", "train"]
    assert any("objects in val" in line for line in found["warnings"])
    small = server.admin.post(f"{server.project}/trainings/preflight", json={"options": OPTIONS | {"size": 32}})
    [advice] = [each for each in small.json()["recommended"] if each["option"] == "size"]
    assert advice["value"] > 32


@pytest.mark.slow
def test_the_estimate_is_of_a_process_that_ends(server: WebServer) -> None:
    """Three steps of the network say how long all take."""
    small = OPTIONS | {"size": 64, "batch": 1, "threads": 1}
    found = server.admin.post(f"{server.project}/trainings/estimate", json={"options": small}).json()
    assert found["estimate"]["minutes"] > 0
    assert found["estimate"]["memory_bytes"] > 1 << 20
    assert not server.app.state.trials.is_running


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"release": "v9"}, "there is no release 'v9'"),
        ({"model": "dfine-nano"}, "winnow models pull dfine-nano"),
        ({"model": "torchvision:none"}, "expected torchvision:NAME"),
        ({"model": "/etc"}, "expected torchvision:NAME"),
        ({"split": {"train": 0.5, "val": 0.1}}, "add up to 1"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_it_waits(
    server: WebServer, place: Workspace, change: dict[str, Any], line: str
) -> None:
    """In one line with what to do; nothing is in the queue."""
    before = len(JobQueue(place.root).jobs())
    refused = server.admin.post(f"{server.project}/trainings", json={"options": OPTIONS | change})
    assert refused.status_code == 400
    assert any(line in each for each in lines(refused)), lines(refused)
    assert len(JobQueue(place.root).jobs()) == before


def test_a_training_is_followed_epoch_by_epoch(server: WebServer, place: Workspace) -> None:
    """Figures after an epoch, those of the best one in the list, samples with the size of their frames."""
    job_id, _ = trained(place, "known", [0.0, 1.0, 0.5], batch=4)
    viewer = server.client(server.person("watcher", "viewer"))
    [row] = [each for each in viewer.get(f"{server.project}/trainings").json()["trainings"] if each["job_id"] == job_id]
    assert (row["state"], row["epochs"], row["options"]["batch"]) == ("done", 3, 4)
    assert (row["best"]["epoch"], row["best"]["AP"]) == (2, pytest.approx(1.0))
    found = viewer.get(f"{server.project}/trainings/{job_id}", params={"after": 1, "limit": 1}).json()
    assert (found["last"], {each["epoch"] for each in found["figures"]}) == (3, {2})
    values = {(each["name"], each["category"]): each["value"] for each in found["figures"]}
    assert (values["AP50", ""], values["loss", ""]) == (pytest.approx(1.0), 1.0)
    assert {category for name, category in values if name == "AP50"} == {"", *CLASSES}
    samples = viewer.get(f"{server.project}/trainings/{job_id}/samples/2").json()["samples"]
    assert len(samples) == 8
    assert {(each["width"], each["height"]) for each in samples} == {(160, 160)}
    assert all(box["score"] == pytest.approx(0.9) for each in samples for box in each["boxes"])
    assert viewer.get(f"{server.project}/trainings/{job_id}/samples/9").json()["samples"] == []
    assert viewer.post(f"{server.project}/trainings", json={"options": OPTIONS}).status_code == 403
    made = server.admin.post(f"{server.project}/trainings", json={"options": OPTIONS})
    assert made.status_code == 201
    waits = viewer.get(f"{server.project}/trainings/{made.json()['job_id']}").json()
    assert (waits["state"], waits["last"], waits["figures"]) == ("pending", 0, [])


def test_a_job_that_trains_nothing_is_no_training(server: WebServer, place: Workspace) -> None:
    """404, as for one that is not there."""
    run = Store(place.root).read(schemas.RUNS, ("job_id",))["job_id"].to_pylist()[0]
    for job_id in (run, "nothing"):
        assert server.admin.get(f"{server.project}/trainings/{job_id}").status_code == 404
