"""The full circle on photos: annotated by a detector, reviewed by somebody careful through the queue, and exported."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest

from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.helpers import go
from tests.jobs.web.browsing import winnow
from tests.jobs.web.material import Server, served
from tests.jobs.web.reviewing import Desk, desk
from transforms.core.boxes import box_iou

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.realdata]

_SAME = 0.5
_Objects = list[dict[str, Any]]


def _average_precision(truth: Path, found: _Objects) -> float:
    """Return COCO's AP of objects with `image_id`, `category_id`, `bbox` and `score`."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    gold = COCO(str(truth))
    measured = COCOeval(gold, gold.loadRes(cast("Any", found)), "bbox")
    measured.evaluate()
    measured.accumulate()
    measured.summarize()
    return float(measured.stats[0])


def _careful(frame: dict[str, Any], truth: _Objects) -> list[dict[str, Any]]:
    """Return what somebody does who knows what is on a frame: each object is there once, where it is, as what it is."""
    ops: list[dict[str, Any]] = []
    there = frame["objects"]
    free = set(range(len(there)))
    overlap: npt.NDArray[np.float64] = np.zeros((len(truth), len(there)))
    if truth and there:
        overlap = box_iou(np.array([t["bbox"] for t in truth]), np.array([o["bbox"] for o in there]))
    for at, each in enumerate(truth):
        best = max(free, key=lambda n: (overlap[at, n], -n), default=None)
        if best is None or overlap[at, best] < _SAME:
            new = {"op": "add", "object_id": secrets.token_hex(8)}
            ops.append({**new, "category": each["category"], "bbox": each["bbox"]})
            continue
        free.remove(best)
        change = {"op": "set", "object_id": there[best]["object_id"], "bbox": each["bbox"]}
        if there[best]["category"] != each["category"]:
            change["category"] = each["category"]
        ops.append(change)
    if not truth:
        return [{"op": "negative"}]
    return ops + [{"op": "delete", "object_id": there[n]["object_id"]} for n in sorted(free)]


def _review_all(person: Desk, server: Server, truth: dict[int, _Objects]) -> int:
    """Review the queue until nothing waits; return how many objects were proposed."""
    proposed = 0
    while leases := person.post("leases", n=5).json()["leases"]:
        for lease in leases:
            stream, idx = lease["stream_id"], int(lease["frame_idx"])
            frame = person.get("frame", stream=stream, idx=idx)
            proposed += len(frame["objects"])
            body = {"event_id": secrets.token_hex(16), "stream": stream, "idx": idx, "h": frame["h"]}
            ops = _careful(frame, truth[idx])
            answer = person.post("events", **body, base_revision=frame["revision"], kind="submit", ops=ops)
            assert answer.status_code == 200, (idx, answer.text)
            assert answer.json()["state"] == "approved"
    return proposed


def test_photos_that_a_detector_annotated_are_reviewed_and_exported_as_they_are(
    real_data: Path, tmp_path: Path
) -> None:
    data, weights = real_data / "detection/coco128", real_data / "weights/yolox_nano.onnx"
    gold = data / "instances.json"
    read = json.loads(gold.read_text())
    names = {each["id"]: each["name"] for each in read["categories"]}
    numbers = {name: number for number, name in names.items()}
    truth: dict[int, _Objects] = {each["id"]: [] for each in read["images"]}
    for each in read["annotations"]:
        truth[each["image_id"]].append({"category": names[each["category_id"]], "bbox": each["bbox"]})
    workspace = Workspace.at(tmp_path / "photos")
    detector = ("annotate.detector=onnx", f"annotate.weights={weights}", "annotate.frames=all")
    go(workspace, data / "images", settings=("stages=[quality, annotate]", *detector))
    (tmp_path / "accounts").mkdir()
    server = served(workspace, tmp_path / "accounts")
    admin, reviewer = desk(server, "admin"), desk(server, "reviewer")
    known = {each["category"] for each in admin.get("categories")["categories"]}
    for name in sorted({each["category"] for objects in truth.values() for each in objects} - known):
        assert admin.post("categories", kind="add", category=name).status_code == 200
    boxes = ("bbox_x", "bbox_y", "bbox_w", "bbox_h")
    rows = View.of(workspace).lazy("annotations").select("frame_idx", "category", "score", *boxes).collect().to_dicts()
    by_model = [
        {
            "image_id": row["frame_idx"],
            "category_id": numbers[row["category"]],
            "bbox": [row[name] for name in boxes],
            "score": row["score"],
        }
        for row in rows
    ]
    assert _review_all(reviewer, server, truth) == len(by_model)
    assert reviewer.get("queue")["counts"]["approved"] == len(truth)
    server.client.app.state.reviews.publish(server.project)  # type: ignore[attr-defined]
    out = tmp_path / "coco"
    options = ("--format", "coco", "--out", str(out), "--all", "--only-reviewed", "--media", "none")
    winnow("export", "--workspace", str(workspace.root), *options)
    files = {path: json.loads(path.read_text(encoding="utf-8")) for path in out.rglob("*.json")}
    [exported] = [found for found in files.values() if {"images", "annotations", "categories"} <= set(found)]
    # Exactly what was approved, negatives too.
    images = {
        each["id"]: int(Path(each["file_name"]).stem.rpartition("_")[2].lstrip("0") or 0) for each in exported["images"]
    }
    assert set(images.values()) == set(truth)
    assert len(exported["annotations"]) == len(read["annotations"])
    called = {each["id"]: each["name"] for each in exported["categories"]}
    reviewed = [
        {
            "image_id": images[each["image_id"]],
            "category_id": numbers[called[each["category_id"]]],
            "bbox": each["bbox"],
            "score": 1.0,
        }
        for each in exported["annotations"]
    ]
    before, after = _average_precision(gold, by_model), _average_precision(gold, reviewed)
    print(f"AP of the detector {before:.3f}, after review {after:.3f}")
    assert 0.2 < before < 0.6
    assert after > 0.99
