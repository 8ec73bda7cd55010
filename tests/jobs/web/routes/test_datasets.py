from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.dispatch import tasks
from jobs.dispatch.job_queue import JobQueue
from jobs.storage.workspace import Workspace
from tests.helpers import go, write_noise_stream
from tests.web_server import WebServer, lines, web_server

pytestmark = pytest.mark.process


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    found = Workspace.at(tmp_path / "tables")
    go(found, write_noise_stream(tmp_path / "cam", range(4)))
    return found


@pytest.fixture
def server(place: Workspace) -> Iterator[WebServer]:
    with web_server(place) as found:
        yield found


def run_queue(place: Workspace) -> None:
    """Do what a gateway would do with all that is due."""
    queue = JobQueue(place.root)
    for job in queue.live():
        if job.state.state == "pending":
            assert queue.claim(job)
            tasks.run(place, job)


def submit(server: WebServer, what: str, **options: Any) -> str:
    answer = server.admin.post(f"{server.project}/{what}", json={"options": options})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["job_id"])


def test_a_dataset_is_made_and_downloaded_in_a_browser(server: WebServer, place: Workspace) -> None:
    submit(server, "selections", name="some", n=3)
    submit(server, "releases", name="first")
    run_queue(place)
    [row] = server.admin.get(f"{server.project}/selections").json()["selections"]
    assert (row["name"], row["frames"], row["strategy"]) == ("some", 3, "diverse")
    assert [row["name"] for row in server.admin.get(f"{server.project}/releases").json()["releases"]] == ["first"]
    job_id = submit(server, "exports", format="coco", release="first", selection=None)
    path = f"{server.project}/exports/{job_id}/download"
    assert server.admin.get(path).status_code == 409
    run_queue(place)
    [listed] = server.admin.get(f"{server.project}/exports").json()["exports"]
    assert (listed["job_id"], listed["is_there"], listed["result"]["frames"]) == (job_id, True, 4)
    viewer = server.client(server.person("viewer", "viewer"))
    whole = viewer.get(path)
    assert zipfile.ZipFile(io.BytesIO(whole.content)).testzip() is None
    assert whole.content == tasks.exported_file(place.root, job_id).read_bytes()
    part = viewer.get(path, headers={"range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    assert server.admin.delete(f"{server.project}/exports/{job_id}").status_code == 204
    gone = viewer.get(path)
    assert (gone.status_code, lines(gone)) == (410, [f"the file of export {job_id} was deleted; export again"])


def test_releases_are_compared(server: WebServer, place: Workspace, tmp_path: Path) -> None:
    submit(server, "releases", name="first")
    run_queue(place)
    go(place, write_noise_stream(tmp_path / "cam", range(4, 7), start=4))
    submit(server, "releases", name="second")
    run_queue(place)
    both = {"before": "first", "after": "second"}
    found = server.admin.get(f"{server.project}/releases/diff", params=both).json()
    assert (found["before"], found["after"], found["added"]) == ("first", "second", 3)
    taken = server.admin.post(f"{server.project}/releases", json={"options": {"name": "first"}})
    assert taken.status_code == 409
    unknown = server.admin.get(f"{server.project}/releases/diff", params={**both, "after": "third"})
    assert unknown.status_code == 400


def test_bodies_say_nothing_of_places(server: WebServer) -> None:
    wrong = server.admin.post(f"{server.project}/exports", json={"options": {"format": "coco", "out": "/etc"}})
    assert (wrong.status_code, lines(wrong)) == (422, ["options.out: unknown field"])
