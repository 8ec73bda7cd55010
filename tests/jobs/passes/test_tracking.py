"""Tracks through whole runs: over frames, never across a cut or a gap, and as readers see them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

import schemas
from jobs.datasets.export import ExportRequest, export
from jobs.storage.paths import place
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.helpers import assert_one_live_row, assert_same_tables, computed, go, noise, rows
from tests.onnx_graphs import write_end_to_end

pytest.importorskip("onnxruntime", reason="the extra `annotate` is not installed")
pytest.importorskip("scipy", reason="the extra `annotate` is not installed")
pytestmark = pytest.mark.usefixtures("models_at_hand")
CUT, GAP = 10, 20
NUMBERS = [*range(GAP), *range(GAP + 4, GAP + 12)]


def picture(number: int) -> npt.NDArray[np.uint8]:
    """A red box that moves by four pixels per frame, before one wall and then another."""
    frame = np.repeat(noise(int(number >= CUT), 128, 256)[:, :, None] // 2, 3, axis=2)
    frame[16:48, 4 * number : 4 * number + 40] = (0, 0, 255)
    return frame


def write(folder: Path, numbers: list[int]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        cv2.imwrite(str(folder / f"image_{number}.png"), picture(number))
    return folder


def test_tracks_end_at_cuts_and_gaps_and_are_the_same_on_every_grid(tmp_path: Path, workspace: Workspace) -> None:
    weights = write_end_to_end(tmp_path / "red.onnx", "N", {0: "cat", 1: "red"}, "AGPL-3.0")
    asked = ["stages=[annotate, track]", "annotate.detector=onnx", f"annotate.weights={weights}", "annotate.frames=all"]
    cam = write(tmp_path / "cam", NUMBERS)
    record = go(workspace, cam, settings=[*asked, "resources.model_frames=5"])
    assert computed(record)["track"] == len(NUMBERS)
    found = View.of(workspace).sql("SELECT frame_idx, track_id FROM annotations ORDER BY frame_idx").to_pydict()
    expected = [1] * CUT + [2] * (GAP - CUT) + [3] * (len(NUMBERS) - GAP)
    assert (found["frame_idx"], found["track_id"]) == (NUMBERS, expected)
    assert rows(workspace, schemas.ANNOTATIONS).sort("frame_idx")["track_id"].to_list() == expected
    assert rows(workspace, schemas.ANNOTATIONS).columns == schemas.ANNOTATIONS.arrow_schema.names
    assert computed(go(workspace, cam, settings=asked)) == {}
    other = Workspace.at(tmp_path / "other")
    go(other, cam, settings=[*asked, "resources.model_frames=64", "unit_frames=7"])
    assert_same_tables(workspace, other)
    # Numbers stay when the stream continues, and parameters make rows of their own.
    write(cam, [GAP + 12, GAP + 13])
    assert computed(go(workspace, cam, settings=asked))["track"] == len(NUMBERS) + 2
    grown = rows(workspace, schemas.ANNOTATIONS).sort("frame_idx")["track_id"].to_list()
    assert grown == [*expected, 3, 3]
    manifest = export(workspace, ExportRequest("coco", place(tmp_path / "coco"), everything=True))
    assert manifest["objects"] == len(grown)
    document = json.loads((tmp_path / "coco/annotations/instances_default.json").read_text())
    assert [each["track_id"] for each in document["annotations"]] == grown
    assert set(computed(go(workspace, cam, settings=[*asked, "track.min_frames=11"]))) == {"track"}
    assert rows(workspace, schemas.ANNOTATIONS)["track_id"].drop_nulls().to_list() == []
    assert rows(workspace, schemas.TRACKS).height == 0
    assert_one_live_row(workspace)
    raw = View.of(workspace).lazy("annotations_all").select(pl.col("track_id").null_count()).collect().item()
    assert raw == len(grown)
