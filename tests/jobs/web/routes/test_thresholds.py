from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from jobs.dispatch.execute_job import request_of
from jobs.dispatch.job_queue import JobQueue
from jobs.runs.run import run
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.helpers import go, noise, write_pictures
from tests.web_server import WebServer, lines, web_server

pytestmark = pytest.mark.process

N = 16


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WebServer]:
    """Frames that get darker and darker."""
    pictures = [(noise(n) * (1 - n / N)).astype(np.uint8) for n in range(N)]
    place = Workspace.at(tmp_path / "tables")
    go(place, write_pictures(tmp_path / "cam", pictures))
    with web_server(place) as found:
        yield found


def test_a_threshold_is_moved_previewed_and_applied(server: WebServer, tmp_path: Path) -> None:
    path = f"{server.project}/thresholds"
    found = server.admin.get(path).json()
    known = {setting["key"]: setting for setting in found["settings"]}
    dark = known["curation.dark_mean"]
    assert (dark["value"], dark["low"], dark["high"], dark["kind"]) == (32.0, 0.0, 255.0, "number from 0 to 255")
    luma = found["histograms"]["curation.dark_mean"]
    assert (luma["measure"], sum(luma["counts"]), len(luma["edges"])) == ("luma_mean", N, len(luma["counts"]) + 1)
    settings = ["curation.dark_mean=70"]
    preview = server.admin.post(f"{path}/preview", json={"settings": settings}).json()
    assert preview["newly_kept"] == 0
    assert preview["newly_dropped"] == preview["changes"] == len(preview["frames_changed"]) > 0
    # Not all of them for being dark: those that are set the level of sharpness for the others.
    assert all(row["kept"] and not row["keep"] for row in preview["frames_changed"])
    assert preview["command"][-5:] == ["--from", "curation", "--set", *settings, "--promote"]
    page = server.admin.post(f"{path}/preview", json={"settings": settings, "start": 1, "limit": 1}).json()
    assert page["frames_changed"] == preview["frames_changed"][1:2]
    replay = {"start": preview["start_stage"], "settings": settings, "promote": True}
    job_id = server.admin.post(f"{server.project}/jobs/{preview['run']}/replay", json=replay).json()["job_id"]
    place = Workspace.at(tmp_path / "tables")
    [job] = JobQueue(place.root).live()
    assert job.job_id == job_id
    assert run(request_of(place, job)).state == "done"
    kept = View.of(place).sql("SELECT count(*) AS n FROM curation WHERE keep").to_pylist()
    assert kept == [{"n": preview["kept"]}]
    after = server.admin.post(f"{path}/preview", json={}).json()
    assert (after["kept"], after["changes"], after["start_stage"], after["command"]) == (preview["kept"], 0, None, None)


def test_a_preview_takes_settings_of_decisions_alone(server: WebServer) -> None:
    path = f"{server.project}/thresholds/preview"
    other = server.admin.post(path, json={"settings": ["annotate.weights=/etc/passwd"]})
    assert (other.status_code, lines(other)) == (
        400,
        ["settings: expected settings of curation, idle, duplicates, found 'annotate.weights=/etc/passwd'"],
    )
    wrong = server.admin.post(path, json={"settings": ["curation.dark_mean=300"]})
    assert (wrong.status_code, lines(wrong)) == (
        400,
        ["curation.dark_mean: input should be less than or equal to 255, found 300"],
    )
    assert server.admin.post(path, json={"run": "20200101"}).status_code == 404
    viewer = server.client(server.person("viewer", "viewer"))
    assert viewer.get(f"{server.project}/thresholds").status_code == 200
    assert viewer.post(path, json={}).status_code == 403


def test_a_project_without_verdicts_says_so(tmp_path: Path) -> None:
    with web_server(Workspace.at(tmp_path / "new").create()) as server:
        answer = server.admin.get(f"{server.project}/thresholds")
        assert (answer.status_code, lines(answer)) == (404, ["no run has decided about frames yet"])
