"""What several stages know of frames and objects, as readers see it together."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

import schemas
from conf import load
from jobs.core.errors import UserError
from jobs.datasets.export import ExportRequest, export
from jobs.runs.dry_run import forecast
from jobs.runs.prepare import RunRequest, prepare
from jobs.stages.build import build
from jobs.storage.paths import place
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.helpers import assert_one_live_row, computed, go, noise, rows
from tests.onnx_graphs import write_end_to_end
from tests.torch_models import write_blip, write_sam2

for library, extra in {"transformers": "transformers", "rapidocr": "ocr", "pycocotools": "annotate"}.items():
    pytest.importorskip(library, reason=f"the extra `{extra}` is not installed")
N = 4
WRITTEN, EMPTY = 1, 3


def picture(number: int) -> npt.NDArray[np.uint8]:
    """A red box on a wall, but on the last image, and a word on one of them."""
    frame = np.repeat(noise(number, 128, 256)[:, :, None] // 3, 3, axis=2)
    if number != EMPTY:
        frame[16:56, 12 * number : 12 * number + 40] = (0, 0, 255)
    if number == WRITTEN:
        cv2.putText(frame, "EXIT", (100, 110), cv2.FONT_HERSHEY_SIMPLEX, 1.5, (255, 255, 255), 3, cv2.LINE_AA)
    return frame


@pytest.mark.usefixtures("models_at_hand")
@pytest.mark.slow
def test_masks_texts_and_captions_come_together(workspace: Workspace, tmp_path: Path) -> None:
    cam = tmp_path / "cam"
    cam.mkdir()
    for number in range(N):
        cv2.imwrite(str(cam / f"image_{number}.png"), picture(number))
    settings = [
        "stages=[annotate, segment, ocr, caption]",
        "annotate.detector=onnx",
        f"annotate.weights={write_end_to_end(tmp_path / 'red.onnx', 'N', {0: 'cat', 1: 'red'})}",
        *(f"{section}.frames=all" for section in ("annotate", "ocr", "caption")),
        f"segment.weights={write_sam2(tmp_path / 'sam2')}",
        f"caption.weights={write_blip(tmp_path / 'blip')}",
        "caption.max_words=4",
        "resources.model_frames=3",
    ]
    done = computed(go(workspace, cam, settings=settings))
    assert {name: done[name] for name in ("annotate", "segment", "ocr", "caption")} == {
        "annotate": N,
        "segment": N - 1,
        "ocr": N,
        "caption": N,
    }
    found = rows(workspace, schemas.ANNOTATIONS).sort("frame_idx", "category")
    seen = found.select("frame_idx", "category", "text").rows()
    assert seen == [(0, "red", None), (1, "red", None), (1, "text", "EXIT"), (2, "red", None)]
    masks = rows(workspace, schemas.MASKS)
    assert 0 < masks.height <= N - 1
    assert (
        found.filter(pl.col("mask_rle").is_not_null())["mask_rle"].sort().to_list()
        == masks["mask_rle"].sort().to_list()
    )
    by_sql = View.of(workspace).sql("SELECT * FROM annotations ORDER BY frame_idx, category").to_pylist()
    assert by_sql == found.select(list(by_sql[0])).to_dicts()
    curated = View.of(workspace).sql("SELECT n_objects, n_texts, caption FROM curated ORDER BY frame_idx").to_pydict()
    assert (curated["n_objects"], curated["n_texts"]) == ([1, 1, 1, 0], [0, 1, 0, 0])
    assert all(curated["caption"])
    manifest = export(workspace, ExportRequest("coco", place(tmp_path / "coco"), everything=True))
    assert [(m["source"], m.get("objects"), m.get("masks")) for m in manifest["models"]] == [
        ("onnx", 3, None),
        ("rapidocr", 1, None),
        ("sam2", None, masks.height),
        ("caption", None, None),
    ]
    document = json.loads((tmp_path / "coco/annotations/instances_default.json").read_text())
    assert sum(bool(each["segmentation"]) for each in document["annotations"]) == masks.height
    assert [each["text"] for each in document["annotations"] if "text" in each] == ["EXIT"]
    export(workspace, ExportRequest("yolo-segment", place(tmp_path / "yolo"), everything=True))
    loaded = load(settings=[*settings, "annotate.min_score=0.3"])
    planned = {f.stage: f for f in forecast(prepare(RunRequest(workspace, [str(cam)], loaded)))}
    assert (planned["segment"].compute, planned["ocr"].compute) == (N, 0)
    assert list(planned["segment"].reasons) == ["upstream changed: annotate, as far as that finds something"]
    # Only what is new, or has other objects now, is recomputed; and what is missing takes its masks along.
    assert computed(go(workspace, cam, settings=settings)) == {}
    cv2.imwrite(str(cam / "image_0.png"), picture(EMPTY))
    again = go(workspace, cam, settings=settings).outcomes
    assert (again["annotate"].computed, again["segment"].computed, again["segment"].removed) == (1, 0, 1)
    assert 0 not in rows(workspace, schemas.MASKS)["frame_idx"].to_list()
    assert_one_live_row(workspace)


def test_missing_weights_are_reported_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNOW_WEIGHTS", str(tmp_path))
    for stage, name in (("segment", "sam2-tiny"), ("caption", "blip-base")):
        with pytest.raises(UserError, match=f"run: winnow models pull {name}"):
            build(load(settings=[f"stages=[{stage}]"]).config)
