from __future__ import annotations

from pathlib import Path

import pytest

from jobs.demo import SETTINGS, write_sample
from jobs.records.journal import events
from jobs.storage.workspace import Workspace
from jobs.web.seen_frames import SeenFrames
from tests.helpers import go
from tests.web_server import web_server
from transforms.synthetic import Sample


@pytest.mark.process
def test_frames_with_objects_are_in_the_journal_and_have_images(tmp_path: Path) -> None:
    write_sample(tmp_path / "cam", Sample(640, 360, timeline=(("moving", 10), ("visited", 30)), broken=False))
    place = Workspace.at(tmp_path / "tables")
    job = go(place, tmp_path / "cam", settings=("stages=[+annotate]", "annotate.frames=all", *SETTINGS)).job_id
    seen = [event for event in events(place.root, job) if event["event"] == "objects_seen"]
    assert seen
    assert seen[0]["stage"] == "annotate"
    shown = [frame for event in seen for frame in event["data"]["frames"]]
    assert any(frame["objects"] for frame in shown)
    with web_server(place) as server:
        viewer = server.client(server.person("looks", "viewer"))
        frames = viewer.get(f"{server.project}/jobs/{job}").json()["seen"]
        assert [frame["frame_idx"] for frame in frames] == [frame["frame_idx"] for frame in shown][-4:]
        assert (frames[0]["width"], frames[0]["height"]) == (640, 360)
        route = f"{server.project}/jobs/{job}/seen"
        last = {"stream": frames[-1]["stream_id"], "idx": frames[-1]["frame_idx"], "w": "320"}
        image = viewer.get(route, params=last)
        assert (image.status_code, image.headers["content-type"]) == (200, "image/jpeg")
        others = {"stream": frames[-1]["stream_id"], "idx": 0, "w": "320"}
        assert viewer.get(route, params=others).status_code == 404
    assert SeenFrames().find(place, job, "cam", 10**6) is None


@pytest.mark.process
def test_a_run_may_leave_them_out(tmp_path: Path) -> None:
    write_sample(tmp_path / "cam", Sample(320, 180, timeline=(("visited", 12),), broken=False))
    place = Workspace.at(tmp_path / "tables")
    settings = ("stages=[+annotate]", "annotate.frames=all", "resources.live=false", *SETTINGS)
    job = go(place, tmp_path / "cam", settings=settings).job_id
    assert "objects_seen" not in {event["event"] for event in events(place.root, job)}
