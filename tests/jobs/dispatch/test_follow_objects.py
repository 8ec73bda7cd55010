"""Objects that a person left on a frame are followed by a small SAM 2 of random weights, and suggested later on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import schemas
from jobs.dispatch import tasks
from jobs.records.run_events import SilentListener
from jobs.storage.store import Store
from tests.jobs.review.material import annotated
from tests.jobs.web.material import served
from tests.jobs.web.reviewing import STREAM, Desk, desk
from tests.torch_models import write_sam2_video
from transforms.frames.frame_image import Clips, open_frame
from transforms.frames.image import ImageParams
from transforms.models.propagate import PropagateParams, Propagator, PropagatorSpec

pytest.importorskip("transformers", reason="the extra `transformers` is not installed")
pytest.importorskip("pycocotools", reason="the extra `annotate` is not installed")
pytestmark = [pytest.mark.process, pytest.mark.slow]

_BOX = [30.0, 20.0, 60.0, 40.0]


def _suggested(person: Desk, idx: int) -> list[dict[str, Any]]:
    """What the job said of a frame, which is among the objects to check where nobody has worked on it."""
    frame = person.frame(idx)
    return [each for each in frame["objects"] + frame["suggestions"] if each["source"].startswith("import:follow")]


def test_objects_are_followed_as_by_the_stage_and_suggested_without_changing_anything(tmp_path: Path) -> None:
    weights = write_sam2_video(tmp_path / "tiny")
    workspace = annotated(tmp_path)
    (tmp_path / "accounts").mkdir()
    server = served(workspace, tmp_path / "accounts", mask_weights=str(weights))
    person = desk(server, "reviewer")
    person.edit(1, {"op": "add", "object_id": "drawn-0001", "category": "red", "bbox": _BOX})
    # A frame that somebody has worked on gets a suggestion, and stays as it is.
    person.edit(2, {"op": "add", "object_id": "drawn-0002", "category": "red", "bbox": [1, 1, 5, 5]})
    before = person.frame(2)["objects"]
    body = {"stream": STREAM, "idx": 1, "h": person.frame(1)["h"], "frames": 2}
    assert person.post("follow", **body, objects=["unknown-0001"]).status_code == 409
    made = person.post("follow", **body, objects=["drawn-0001"])
    assert made.status_code == 201, made.text
    result = tasks.run_here(workspace, made.json()["job_id"], SilentListener())
    assert result["frames"] == 2
    server.client.app.state.data.of(server.project).shown()  # type: ignore[attr-defined]
    assert person.frame(2)["objects"] == before

    frames = Store(workspace.root).open(schemas.FRAMES).lazy().collect().to_dicts()
    at = {each["frame_idx"]: each["uri"] for each in frames if each["stream_id"] == STREAM}
    spec = PropagatorSpec("Sam2VideoModel", weights, "tiny", "0" * 64, PropagateParams())
    model = Propagator(spec, "")
    x, y, w, h = _BOX
    origin = {"annotation_id": "drawn-0001", "category": "red", "score": 1.0, "x": x, "y": y, "w": w, "h": h}
    with Clips() as clips:
        ready = [model.prepare(open_frame(at[n], None, ImageParams(), clips).color(), [origin]) for n in (1, 2, 3)]
    state = model.start(ready[0], 1)
    total = 0
    for idx, each in ((2, ready[1]), (3, ready[2])):
        carried = model.step(state, each, wanted=True)
        assert carried is not None
        found = _suggested(person, idx)
        total += len(found)
        assert [one["rle"] for one in found] == list(carried.run_lengths)
        assert np.allclose([one["bbox"] for one in found], carried.boxes, atol=0.01)
        assert {one["category"] for one in found} <= {"red"}
    assert total == result["objects"]
    assert total > 0
    # Accepted by its id; the same job again doubles nothing.
    (one,) = _suggested(person, 2)
    assert person.edit(2, {"op": "accept", "object_id": one["object_id"]}).status_code == 200
    assert len(person.frame(2)["objects"]) == len(before) + 1
