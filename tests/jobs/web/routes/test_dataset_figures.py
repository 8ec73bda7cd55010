from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.storage.workspace import Workspace
from tests.helpers import go, write_noise_stream
from tests.jobs.web.routes.test_datasets import run_queue, submit
from tests.web_server import WebServer, lines, web_server

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("figures")
    found = Workspace.at(folder / "tables")
    go(found, write_noise_stream(folder / "cam", range(6)))
    return found


@pytest.fixture(scope="module")
def server(place: Workspace) -> Iterator[WebServer]:
    with web_server(place) as found:
        submit(found, "selections", name="some", n=3)
        submit(found, "releases", name="first", note="as it was")
        run_queue(place)
        cam = Path(str(place.root)).parent / "cam"
        go(place, write_noise_stream(cam, range(6, 9), start=6), settings=("curation.dark_mean=255",))
        submit(found, "releases", name="second")
        run_queue(place)
        yield found


def diff(server: WebServer, change: str, **query: Any) -> Any:
    both = {"before": "first", "after": "second", "change": change, **query}
    answer = server.admin.get(f"{server.project}/releases/diff/frames", params=both)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_frames_of_a_difference_are_as_many_as_its_counts(server: WebServer) -> None:
    both = {"before": "first", "after": "second"}
    counts = server.admin.get(f"{server.project}/releases/diff", params=both).json()
    for change in ("added", "gone", "changed", "newly_kept", "newly_dropped"):
        assert diff(server, change)["total"] == counts[change], change
    added = diff(server, "added")["frames"]
    assert [(each["frame_idx"], each["before"]) for each in added] == [(6, None), (7, None), (8, None)]
    dropped = diff(server, "newly_dropped", start=1, limit=2)
    assert (dropped["start"], len(dropped["frames"])) == (1, 2)
    first = dropped["frames"][0]
    assert (first["before"]["keep"], first["after"]["keep"], "dark" in first["after"]["reasons"]) == (True, False, True)
    assert len(first["after"]["h"]) == 16
    unknown = server.admin.get(f"{server.project}/releases/diff/frames", params={**both, "change": "painted"})
    assert unknown.status_code == 422


def test_a_release_shows_its_figures_and_is_deleted(server: WebServer, place: Workspace) -> None:
    shown = server.admin.get(f"{server.project}/releases/first/figures").json()
    assert (shown["frames"], shown["kept"]) == (6, 6)
    assert str(shown["note"]).startswith("as it was")
    submit(server, "releases", name="third")
    run_queue(place)
    assert server.admin.delete(f"{server.project}/releases/third").status_code == 204
    for answer in (
        server.admin.delete(f"{server.project}/releases/third"),
        server.admin.get(f"{server.project}/releases/third/figures"),
    ):
        assert (answer.status_code, lines(answer)[0][:33]) == (404, "there is no release 'third'; ther")


def test_a_selection_is_listed_and_deleted(server: WebServer, place: Workspace) -> None:
    [row] = server.admin.get(f"{server.project}/selections").json()["selections"]
    assert (row["name"], row["frames"], row["strategy"], row["streams"]) == ("some", 3, "diverse", 1)
    assert server.admin.delete(f"{server.project}/selections/some").status_code == 204
    assert server.admin.get(f"{server.project}/selections").json() == {"selections": []}
    assert server.admin.delete(f"{server.project}/selections/some").status_code == 404


def test_an_export_shows_its_figures_also_after_its_file_was_deleted(server: WebServer, place: Workspace) -> None:
    split = {"train": 0.5, "val": 0.5}
    job_id = submit(server, "exports", format="coco", release="first", split=split, split_by="group")
    waiting = server.admin.get(f"{server.project}/exports/{job_id}").json()
    assert (waiting["state"], waiting["figures"], waiting["is_there"]) == ("pending", None, False)
    run_queue(place)
    server.admin.delete(f"{server.project}/exports/{job_id}")
    shown = server.admin.get(f"{server.project}/exports/{job_id}").json()
    assert (shown["is_there"], sum(shown["figures"]["frames"].values())) == (False, 6)
    assert shown["figures"]["split_report"]["of"]["val"]["leaking"]["frames"] == 0
    assert shown["options"]["split"] == split
    assert shown["command"][:4] == ["winnow", "export", "--format", "coco"]
    assert server.admin.get(f"{server.project}/exports/nothing").status_code == 404


def test_forms_learn_what_there_is(server: WebServer) -> None:
    found = server.admin.get(f"{server.project}/datasets/choices").json()
    by_name = {each["name"]: each for each in found["formats"]}
    assert (by_name["coco"]["media"], by_name["webdataset"]["media"]) == (["copy", "none"], ["copy"])
    assert found["release_name"] == "v1"
    assert found["can_export"]
    assert len(found["runs"]) == 2


def test_a_form_is_a_command_and_its_problems_are_reported(server: WebServer) -> None:
    wanted = {"kind": "select", "options": {"name": "a", "n": 5}}
    found = server.admin.post(f"{server.project}/datasets/command", json=wanted).json()["command"]
    assert found[:6] == ["winnow", "select", "--name", "a", "--n", "5"]
    wrong = server.admin.post(f"{server.project}/datasets/command", json={"kind": "select", "options": {"name": "a"}})
    assert (wrong.status_code, lines(wrong)) == (400, ["n and fraction: expected one of them"])
    for kind, options in (("select", {"n": 5}), ("export", {"format": "coco"})):
        condition = {"kind": kind, "options": {**options, "where": "no_such_column > 3"}}
        wrong = server.admin.post(f"{server.project}/datasets/command", json=condition)
        assert (wrong.status_code, "no_such_column" in lines(wrong)[0]) == (400, True)
    of_objects = {"kind": "export", "options": {"format": "coco", "where": "objects.category = 'car'"}}
    assert server.admin.post(f"{server.project}/datasets/command", json=of_objects).status_code == 200
    lead = server.client(server.person("lead", "admin"))
    assert (
        str(server.app.state.projects.all()[0].path)
        not in lead.post(f"{server.project}/datasets/command", json=wanted).text
    )
