"""What stages make of imported labels: nothing, so that no row of theirs depends on when labels were imported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import schemas
from jobs.engine.ray_engine import Engine
from jobs.views.view import View
from tests.helpers import computed, go, rows, said, winnow
from tests.jobs.review.material import HEIGHT, WIDTH, N, annotated, settings
from tests.models import held_at_hand

pytest.importorskip("onnxruntime", reason="the extra `annotate` is not installed")

TRACKED = "stages=[quality, fingerprints, duplicates, scenes, curation, annotate, track, route]"


def test_stages_compute_nothing_for_imported_labels_which_keep_their_tracks(tmp_path: Path, engine: Engine) -> None:
    workspace = annotated(tmp_path)
    chosen = [*settings(tmp_path)[1:], TRACKED]
    with held_at_hand():
        go(workspace, tmp_path / "data", settings=chosen)
    before = {table.name: rows(workspace, table) for table in (schemas.ANNOTATIONS, schemas.TRACKS)}
    labels = {
        "images": [
            {"id": at, "file_name": f"yard/gate/image_{at}.png", "width": WIDTH, "height": HEIGHT} for at in range(3)
        ],
        "categories": [{"id": 1, "name": "red"}],
        "annotations": [
            {"id": at, "image_id": at, "category_id": 1, "bbox": [8 * at, 16, 40, 32], "iscrowd": 0, "track_id": 7}
            for at in range(3)
        ],
    }
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    words = (
        "labels",
        "import",
        tmp_path / "labels.json",
        "-w",
        workspace.root,
        "-f",
        "coco",
        "--name",
        "city",
        "--json",
    )
    assert said(winnow(*words, "--as", "suggestion"))["objects"] == 3
    with held_at_hand():
        assert computed(go(workspace, tmp_path / "data", settings=chosen)) == {}
    tracks = rows(workspace, schemas.TRACKS)
    assert tracks.equals(before["tracks"])
    found = View.of(workspace).sql("SELECT frame_idx, source, track_id FROM objects ORDER BY frame_idx").to_pylist()
    imported = [row for row in found if row["source"] == "import:city"]
    assert [(row["frame_idx"], row["track_id"]) for row in imported] == [(0, 7), (1, 7), (2, 7)]
    # What the detector found elsewhere has its own tracks.
    others = [row for row in found if row["source"] != "import:city"]
    assert {row["frame_idx"] for row in others} < set(range(3, N))
    own = set(before["annotations"].filter(source="onnx")["annotation_id"])
    assert set(tracks["annotation_id"]) <= own
