"""What models find, by requests: two on the same frames, the frames of a selection, and one image that is sent."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import pytest

import schemas
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from tests.training_material import SIDE, evaluated, labelled_workspace, picture, placed, registered
from tests.web_server import WebServer, lines, web_server

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Return a workspace with labelled images and their release; tests only add to it."""
    return labelled_workspace(tmp_path_factory.mktemp("frames"), n=40)


@pytest.fixture(scope="module")
def server(place: Workspace) -> Iterator[WebServer]:
    """Return a server of it."""
    with web_server(place) as found:
        yield found


@pytest.fixture(scope="module")
def ids(place: Workspace) -> list[str]:
    """Return evaluations of two models: one finds nothing, one all objects of half of the frames."""
    return evaluated(place, (placed(place, "yard", 0.1), 0.0), (placed(place, "yard", 0.2), 0.5))


def test_frames_on_which_two_models_differ_come_first(server: WebServer, ids: list[str]) -> None:
    """Each object that one of them alone has found is a difference."""
    nothing, half = ids
    viewer = server.client(server.person("watcher", "viewer"))
    found = viewer.get(f"{server.project}/evaluations/{half}/frames", params={"against": nothing, "limit": 100}).json()
    frames = found["frames"]
    assert (found["total"], found["differ"]) == (len(frames), round(0.5 * len(frames)))
    counts = [each["disagreements"] for each in frames]
    assert counts == sorted(counts, reverse=True)
    assert all(each["is_current"] and each["width"] == SIDE for each in frames)
    for each in frames:
        assert each["disagreements"] == len(each["found"]) - len(each["other"]["found"])
        assert all(box["alone"] for box in each["found"])
        expected = len(each["labelled"]) if each["found"] else 0
        assert (each["correct"], each["missed"]) == (expected, len(each["labelled"]) - expected)
    page = viewer.get(
        f"{server.project}/evaluations/{half}/frames", params={"against": nothing, "start": 1, "limit": 1}
    )
    assert page.json()["frames"] == frames[1:2]


def test_frames_of_one_model_are_those_with_most_errors_first(server: WebServer, ids: list[str]) -> None:
    """Without another one to compare with; what is not there is 404, other frames are refused."""
    frames = server.admin.get(f"{server.project}/evaluations/{ids[1]}/frames", params={"limit": 100}).json()["frames"]
    errors = [each["wrong"] + each["missed"] for each in frames]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0
    assert "other" not in frames[0]
    for query in ({}, {"against": ids[0]}):
        assert server.admin.get(f"{server.project}/evaluations/e9/frames", params=query).status_code == 404
    missing = server.admin.get(f"{server.project}/evaluations/{ids[0]}/frames", params={"against": "e9"})
    assert missing.status_code == 404


def test_the_frames_with_most_errors_are_a_queue(server: WebServer, place: Workspace, ids: list[str]) -> None:
    """By the selection that an evaluation names; frames are filtered by it, too."""
    worst = server.admin.get(f"{server.project}/evaluations/{ids[1]}").json()["worst"]
    assert worst == "worst-yard-2"
    rows = Store(place.root).read(schemas.SELECTIONS, ("selection", "frame_idx")).to_pylist()
    chosen = {row["frame_idx"] for row in rows if row["selection"] == worst}
    assert chosen
    frames = server.admin.get(f"{server.project}/frames", params={"selection": worst}).json()
    assert {each["frame_idx"] for each in frames["frames"]} == chosen
    queue = server.admin.get(f"{server.project}/review/queue", params={"selection": worst, "tab": "all"}).json()
    assert {each["frame_idx"] for each in queue["frames"]} == chosen
    assert server.admin.get(f"{server.project}/frames", params={"selection": "none"}).json()["total"] == 0


def test_an_image_that_is_none_is_refused(server: WebServer, ids: list[str]) -> None:
    """In one line; so are models that are not there, and people who may not."""
    assert ids
    path = f"{server.project}/models/yard/versions/1/try"
    refused = server.admin.post(path, content=b"no image", headers={"content-type": "image/png"})
    assert (refused.status_code, len(lines(refused))) == (422, 1)
    assert "cannot be read" in lines(refused)[0]
    assert server.admin.post(f"{server.project}/models/yard/versions/9/try", content=b"x").status_code == 404
    viewer = server.client(server.person("reader", "viewer"))
    assert viewer.post(path, content=b"x").status_code == 403
    server.app.state.trials.close()


@pytest.mark.slow
def test_a_model_is_tried_on_an_image(server: WebServer, place: Workspace) -> None:
    """By a process that holds the model until it is ended; boxes are in pixels of the image."""
    version = registered(place, "tried")
    _, data = cv2.imencode(".png", picture(3)[0])
    path = f"{server.project}/models/{version.name}/versions/{version.version}/try"
    found = server.admin.post(path, content=data.tobytes(), headers={"content-type": "image/png"})
    assert found.status_code == 200, found.text
    assert (found.json()["width"], found.json()["height"], found.json()["model"]) == (SIDE, SIDE, "tried@1")
    for each in found.json()["objects"]:
        left, top, width, height = each["bbox"]
        assert 0.05 <= each["score"] <= 1
        assert left >= 0
        assert left + width <= SIDE + 1e-3
        assert top + height <= SIDE + 1e-3
    assert server.app.state.trials.is_running
    server.app.state.trials.close()
    assert not server.app.state.trials.is_running
