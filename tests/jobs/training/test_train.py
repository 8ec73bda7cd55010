"""Annotate, export, train, annotate with the trained model, evaluate."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

import schemas
from jobs.analysis.detection_eval import evaluate_view
from jobs.core.errors import UserError
from jobs.datasets.export import ExportRequest, export
from jobs.models.weight_folders import digest
from jobs.storage.paths import place
from jobs.storage.workspace import Workspace
from jobs.training.train import TrainRequest, train
from jobs.views.view import View
from tests.helpers import go, noise, rows
from tests.onnx_graphs import write_end_to_end
from transforms.models.detect.detections import Thresholds
from transforms.models.detect.ultralytics_models import YoloDetector, YoloSpec

pytest.importorskip("ultralytics", reason="the extra `ultralytics` is not installed")
pytest.importorskip("pycocotools", reason="the extra `annotate` is not installed")
SIDE = 128
N_TRAIN, N_OTHER = 64, 16
# A YOLO26 with one level and 150,000 weights: https://docs.ultralytics.com/models/yolo26/.
TINY = """
nc: 1
end2end: True
reg_max: 1
scales:
  n: [1.0, 0.25, 1024]
backbone:
  - [-1, 1, Conv, [64, 3, 2]]
  - [-1, 1, Conv, [128, 3, 2]]
  - [-1, 1, C3k2, [128, False, 0.25]]
  - [-1, 1, Conv, [256, 3, 2]]
  - [-1, 1, C3k2, [256, False, 0.25]]
  - [-1, 1, Conv, [256, 3, 2]]
  - [-1, 1, C3k2, [256, True]]
head:
  - [[6], 1, Detect, [nc]]
"""
OPTIONS = {
    "optimizer": "AdamW",
    "lr0": 0.01,
    "cos_lr": True,
    "warmup_epochs": 1,
    "mosaic": 0,
    "hsv_h": 0,
    "hsv_s": 0,
    "hsv_v": 0.2,
    "scale": 0.1,
    "erasing": 0,
    "amp": False,
    "workers": 0,
    "val": False,
    "device": "cpu",
}


def picture(number: int) -> tuple[npt.NDArray[np.uint8], tuple[int, int, int, int]]:
    """A red rectangle somewhere on a wall of its own, and its left, top, width and height."""
    rng = np.random.default_rng(number)
    frame = np.repeat(noise(number, SIDE, SIDE)[:, :, None] // 2, 3, axis=2)
    w, h = (2 * rng.integers(12, 26, 2)).tolist()
    x, y = (2 * int(rng.integers(0, (SIDE - side) // 2)) for side in (w, h))
    frame[y : y + h, x : x + w] = (0, 0, 255)
    return frame, (x, y, w, h)


def write(folder: Path, numbers: range) -> Path:
    folder.mkdir(parents=True)
    for number in numbers:
        cv2.imwrite(str(folder / f"image_{number}.png"), picture(number)[0])
    return folder


@pytest.mark.usefixtures("engine")
@pytest.mark.slow
def test_exported_labels_train_a_detector_that_annotates(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path / "settings"))
    teacher = write_end_to_end(tmp_path / "red.onnx", "N", {0: "red", 1: "red rectangle"})
    (tmp_path / "names.txt").write_text("other\nred rectangle\n")
    (tmp_path / "tiny.yaml").write_text(TINY.replace("nc: 1", "nc: 2"))
    asked = ["stages=[annotate]", "annotate.frames=all"]
    teaching = [
        *asked,
        "annotate.detector=onnx",
        f"annotate.weights={teacher}",
        f"annotate.names={tmp_path / 'names.txt'}",
    ]
    go(workspace, write(tmp_path / "first", range(N_TRAIN)), settings=teaching)
    split = {"train": 0.85, "val": 0.15}
    made = export(
        workspace, ExportRequest("yolo", place(tmp_path / "data"), everything=True, split=split, split_by="group")
    )
    assert made["objects"] == N_TRAIN
    files = sorted(p for p in (tmp_path / "data").rglob("*"))
    request = TrainRequest(
        tmp_path / "data", str(tmp_path / "tiny.yaml"), tmp_path / "out", 32, SIDE, 4, 0, tuple(OPTIONS.items())
    )
    row = train(workspace, request)
    # What was trained on is as it was, and is written down.
    assert sorted(p for p in (tmp_path / "data").rglob("*")) == files
    best = tmp_path / "out/out.pt"
    assert (row["path"], row["model_id"], row["data_content"]) == (str(best), digest(best), made["content"])
    (reported,) = View.of(workspace).sql("SELECT * FROM models").to_pylist()
    assert reported == row
    assert json.loads(reported["manifest"])["models"][0]["source"] == "onnx"
    assert json.loads(reported["metrics"])["metrics/mAP50(B)"] > 0.8
    # Others are annotated with it.
    others = range(1000, 1000 + N_OTHER)
    student = [*asked, "annotate.detector=yolo26", f"annotate.weights={best}", "annotate.min_score=0.01"]
    other = Workspace.at(tmp_path / "other")
    record = go(other, write(tmp_path / "second", others), settings=student)
    assert record.outcomes["annotate"].computed == N_OTHER
    who = rows(other, schemas.ANNOTATIONS).select("source", "model", "weights_hash").unique().rows()
    assert who == [("yolo26", "out", row["model_id"])]
    manifest = export(other, ExportRequest("coco", place(tmp_path / "coco"), everything=True, min_score=0.3))
    assert (manifest["models"][0]["licence"] or "").startswith("AGPL-3.0")
    assert "source of the whole program" in manifest["models"][0]["restriction"]
    truth = {
        "images": [{"id": n, "file_name": f"image_{n}.png", "width": SIDE, "height": SIDE} for n in others],
        "categories": [{"id": 1, "name": "red rectangle"}],
        "annotations": [
            {"id": at, "image_id": n, "category_id": 1, "bbox": list(picture(n)[1])} for at, n in enumerate(others, 1)
        ],
    }
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    found = evaluate_view(View.of(other), tmp_path / "truth.json", "bbox", 0.25)
    assert found.n_images == N_OTHER
    assert found.scores.metrics["AP50"] >= 0.9
    _it_finds_what_the_library_finds(best)
    with pytest.raises(UserError) as caught:
        train(workspace, TrainRequest(tmp_path / "coco", str(tmp_path / "none.pt"), tmp_path / "out"))
    reported_ = caught.value.problems
    assert [
        "expected an export of format yolo" in reported_[0],
        "new or empty" in reported_[1],
        "none.pt" in reported_[2],
    ] == [True] * 3


def _it_finds_what_the_library_finds(weights: Path) -> None:
    from ultralytics import YOLO

    frames = [picture(number)[0] for number in range(2000, 2004)]
    frames.append(cv2.resize(frames[0], (200, 120)))
    library = YOLO(str(weights))
    mine = YoloDetector(YoloSpec(weights, "", "", Thresholds(0.01, 0.7, 300), SIDE))(frames)
    alone = [YoloDetector(YoloSpec(weights, "", "", Thresholds(0.01, 0.7, 300), SIDE, batch=1))([f])[0] for f in frames]
    for frame, found, again in zip(frames, mine, alone, strict=True):
        (theirs,) = library.predict(frame, imgsz=SIDE, conf=0.01, iou=0.7, rect=False, device="cpu", verbose=False)
        expected = theirs.boxes.xyxy.numpy()
        corners = np.concatenate([found.boxes[:, :2], found.boxes[:, :2] + found.boxes[:, 2:]], axis=1)
        order = np.argsort(-theirs.boxes.conf.numpy(), kind="stable")
        n = min(len(found), 3)
        assert n
        np.testing.assert_allclose(corners[:n], expected[order][:n], atol=0.1)
        np.testing.assert_allclose(found.scores[:n], theirs.boxes.conf.numpy()[order][:n], atol=1e-3)
        np.testing.assert_allclose(again.boxes[:n], found.boxes[:n], atol=0.1)
