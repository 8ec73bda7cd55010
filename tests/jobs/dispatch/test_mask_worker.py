"""Masks for points and boxes through a server, by a small SAM 2 of random weights in a process of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.core.errors import JobStateError
from jobs.dispatch import line_worker
from jobs.dispatch.mask_worker import MaskRequest, MaskWorker
from tests.jobs.review.material import annotated
from tests.jobs.web.material import Server, served
from tests.jobs.web.reviewing import STREAM, Desk, desk
from tests.torch_models import write_sam2
from tests.waiting import wait_until

pytest.importorskip("transformers", reason="the extra `transformers` is not installed")
pytest.importorskip("pycocotools", reason="the extra `annotate` is not installed")
pytestmark = [pytest.mark.process, pytest.mark.slow]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sam2(tmp_path_factory.mktemp("weights") / "tiny")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("masks")
    (folder / "accounts").mkdir()
    found = served(annotated(folder), folder / "accounts", mask_weights=str(weights))
    yield found
    _worker(found).close()


def _worker(server: Server) -> MaskWorker:
    worker: MaskWorker = server.client.app.state.masks  # type: ignore[attr-defined]
    return worker


def _mask(person: Desk, idx: int = 1, **prompts: Any) -> Any:
    frame = person.frame(idx)
    answer = person.post("masks", stream=STREAM, idx=idx, h=frame["h"], **prompts)
    assert answer.status_code == 200, answer.text
    return frame, answer.json()


def test_a_mask_is_that_of_the_library_and_can_be_stored_as_an_object(server: Server, weights: Path) -> None:
    import cv2
    from PIL import Image
    from pycocotools import mask as coded
    from transformers import Sam2Model, Sam2Processor

    person = desk(server, "annotator")
    about = person.post("masks/start").json()
    assert about == {"model": "tiny", "device": about["device"]}
    assert about["device"] in {"cpu", "cuda"}
    points = [{"x": 20, "y": 15, "label": 1}, {"x": 2, "y": 2, "label": 0}]
    frame, found = _mask(person, points=points, box=[10, 5, 30, 25])
    size = (frame["height"], frame["width"])
    mine = coded.decode({"size": list(size), "counts": found["rle"].encode()})
    image = f"/api/v1/projects/{server.project}/media/frame"
    query: dict[str, str | int] = {"stream": STREAM, "idx": 1, "w": "full"}
    data = server.client.get(image, params=query, headers=person.headers).content
    color = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert color is not None
    model, processor = Sam2Model.from_pretrained(weights).eval(), Sam2Processor.from_pretrained(weights)
    given = processor(
        images=Image.fromarray(color[:, :, ::-1]),
        input_points=[[[[20, 15], [2, 2]]]],
        input_labels=[[[1, 0]]],
        input_boxes=[[[10, 5, 40, 30]]],
        return_tensors="pt",
    )
    said = model(**given, multimask_output=False)
    theirs = processor.post_process_masks(said.pred_masks, given["original_sizes"])[0][0, 0].numpy()
    assert mine.any()
    assert (mine != theirs).mean() < 0.005
    op = {"op": "add", "object_id": "clicked-mask-1", "category": "red", "rle": found["rle"]}
    assert person.edit(1, op).status_code == 200
    assert any(each["rle"] == found["rle"] for each in person.frame(1)["objects"])


def test_a_frame_is_read_by_the_model_once(server: Server) -> None:
    person = desk(server, "annotator")
    _, first = _mask(person, 2)
    assert "rle" not in first
    one = _mask(person, 2, points=[{"x": 5, "y": 5, "label": 1}])[1]
    assert one["rle"] == _mask(person, 2, points=[{"x": 5, "y": 5, "label": 1}])[1]["rle"]


@pytest.mark.parametrize(
    ("prompts", "status", "line"),
    [
        ({"points": [{"x": 1, "y": 1, "label": 0}]}, 422, "a point on the object or a box"),
        ({"points": [{"x": 9999, "y": 1}]}, 400, "found 9999, 1"),
        ({"h": "0" * 16}, 410, "shows another image now"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(server: Server, prompts: dict[str, Any], status: int, line: str) -> None:
    person = desk(server, "annotator")
    body = {"stream": STREAM, "idx": 1, "h": person.frame(1)["h"], **prompts}
    answer = person.post("masks", **body)
    assert answer.status_code == status, answer.text
    assert line in answer.json()["lines"][0]


def test_viewers_ask_for_no_masks(server: Server) -> None:
    assert desk(server, "viewer").post("masks/start").status_code == 403


def test_missing_weights_are_named_with_the_command_that_gets_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WINNOW_WEIGHTS", str(tmp_path))
    worker = MaskWorker("sam2-tiny", "auto", lambda: None)
    with pytest.raises(Exception, match="winnow models pull sam2-tiny"):
        worker.ask(MaskRequest())
    worker.close()


def test_a_process_that_is_killed_or_ends_because_nobody_asks_is_started_again(weights: Path) -> None:
    worker = MaskWorker(str(weights), "cpu", lambda: None)
    assert worker.ask(MaskRequest())["device"] == "cpu"
    process = worker._process
    assert process is not None
    os.kill(process.pid, 9)
    process.wait()
    worker._idle_s = 0.2
    assert worker.ask(MaskRequest())["model"] == "tiny"
    wait_until(lambda: not worker.is_running)
    assert worker.ask(MaskRequest())["model"] == "tiny"
    worker.close()
    assert not worker.is_running


def test_a_job_that_runs_keeps_the_gpu(monkeypatch: pytest.MonkeyPatch, weights: Path) -> None:
    # A machine without a GPU behaves like one with it; only the process itself finds none.
    monkeypatch.setattr(line_worker, "may_have_gpu", lambda: True)
    jobs: list[str] = []
    worker = MaskWorker(str(weights), "auto", lambda: jobs[0] if jobs else None)
    assert worker.ask(MaskRequest())["model"] == "tiny"
    jobs.append("20260101-000000-1234567")
    worker.free()
    assert not worker.is_running
    with pytest.raises(JobStateError, match="20260101-000000-1234567 runs"):
        worker.ask(MaskRequest())
    jobs.clear()
    assert worker.ask(MaskRequest())["model"] == "tiny"
    worker.close()
