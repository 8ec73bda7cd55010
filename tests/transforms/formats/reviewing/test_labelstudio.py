from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.transforms.formats.exports.material import CATEGORIES, HEIGHT, WIDTH, frames, objects, two_parts
from transforms.formats.reviewing.labelstudio import labelstudio_files, read_labelstudio
from transforms.formats.reviewing.shapes import ReviewFileError, rings_of, same_rings

ID = f"{1:032x}"


def region(kind: str = "rectanglelabels", name: str = "Dx_aB91ISN", **more: Any) -> dict[str, Any]:
    value = {"x": 12.5, "y": 10.0, "width": 25.0, "height": 20.0, "rotation": 0, "rectanglelabels": ["person"]}
    size = {"original_width": 80, "original_height": 60, "image_rotation": 0}
    reported = {"id": name, "type": kind, "from_name": "box", "to_name": "image", "origin": "manual", "value": value}
    return {**size, **reported, **more}


def task(*annotations: dict[str, Any], number: int = 7) -> dict[str, Any]:
    """Return a task as the export `JSON` has it, with unused fields."""
    return {
        "id": number,
        "annotations": list(annotations),
        "file_upload": None,
        "drafts": [],
        "predictions": [3],
        "data": {"image": "/data/local-files/?d=images/a%20b/00000001-aaaaaaaaaaaaaaaa.jpg", "stream_id": "a"},
        "meta": {},
        "created_at": "2026-03-09T21:52:49.513742Z",
        "updated_at": "2026-03-09T22:16:08.746926Z",
        "inner_id": 1,
        "total_annotations": len(annotations),
        "project": 83,
        "updated_by": 10,
        "comment_authors": [],
    }


def annotation(*regions: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "id": 1001,
        "completed_by": 10,
        "result": list(regions),
        "was_cancelled": False,
        "ground_truth": False,
        "created_at": "2026-03-09T22:16:08.728353Z",
        "updated_at": "2026-03-09T22:16:08.728378Z",
        "draft_created_at": None,
        "lead_time": 4.288,
        "prediction": {},
        "result_count": len(regions),
        "unique_id": "9b2c",
        "last_action": None,
        "parent_prediction": 3,
        "parent_annotation": None,
        **more,
    }


def test_tasks_have_predictions_in_percent() -> None:
    files = labelstudio_files(frames(), objects(), "/data/local-files/?d=")
    tasks = json.loads(files["tasks.json"])
    assert [t["data"]["image"] for t in tasks][2] == "/data/local-files/?d=images/val/b.c/f_7.png"
    assert tasks[0]["data"] | {"image": ""} == {"image": "", "stream_id": "a", "frame_idx": 1, "content_hash": "aa"}
    cat, person = tasks[0]["predictions"][0]["result"]
    assert (person["id"], person["type"]) == (ID, "rectanglelabels")
    assert (person["from_name"], person["to_name"]) == ("box", "image")
    assert person["value"] == {
        "x": 12.5,
        "y": pytest.approx(5 / HEIGHT * 100),
        "width": 25.0,
        "height": pytest.approx(10 / HEIGHT * 100),
        "rotation": 0,
        "rectanglelabels": ["person"],
    }
    assert (person["original_width"], person["original_height"]) == (WIDTH, HEIGHT)
    assert tasks[0]["predictions"][0]["score"] == 0.5
    assert tasks[1]["predictions"][0]["result"] == []
    # The names that regions refer to are in the labelling interface.
    view = ET.fromstring(files["labels.xml"])
    assert {e.get("name"): e.get("toName") for e in view} == {"image": None, "box": "image", "outline": "image"}
    assert [e.get("value") for e in view.findall("RectangleLabels/Label")] == list(CATEGORIES)
    assert cat["from_name"] == "box"


def test_masks_are_written_and_read_as_outlines() -> None:
    mask = two_parts()
    files = labelstudio_files(frames(), objects(mask), "")
    sent = json.loads(files["tasks.json"])[0]
    cat = sent["predictions"][0]["result"][0]
    assert (cat["type"], cat["from_name"]) == ("polygonlabels", "outline")
    back = read_labelstudio(json.dumps([task(annotation(cat))]).encode())
    (shape,) = back[0].shapes
    each = next(o for o in objects(mask).of(0) if o["mask_rle"])
    assert same_rings(shape.rings, rings_of(each, WIDTH, HEIGHT))


def test_exports_of_label_studio_are_read() -> None:
    person = {"id": 10, "email": "ada@example.org", "first_name": "", "last_name": "", "username": "ada"}
    regions = [region(name=ID), region(meta={"text": ["hard to", "see"]}), region("choices", value={"choices": ["ok"]})]
    older = annotation(updated_at="2026-03-09T20:00:00Z")
    data = json.dumps([task(older, annotation(*regions, completed_by=person))]).encode()
    (frame,) = read_labelstudio(data)
    assert frame.name.endswith("/a b/00000001-aaaaaaaaaaaaaaaa.jpg")
    assert (frame.place, frame.reviewer, frame.size) == ("task 7", "ada@example.org", (80, 60))
    assert frame.reviewed_ns == 1773094568728378000
    mine, drawn = frame.shapes
    assert (mine.annotation_id, mine.category, mine.box) == (ID, "person", (10, 6, 20, 12))
    assert (drawn.annotation_id, drawn.note) == ("Dx_aB91ISN", "hard to see")


def test_tasks_without_annotation_and_skipped_tasks_are_left_out() -> None:
    skipped = annotation(was_cancelled=True)
    assert read_labelstudio(json.dumps([task(), task(skipped, number=8)]).encode()) == []
    # An empty annotation counts: the frame has no objects.
    (frame,) = read_labelstudio(json.dumps([task(skipped, annotation())]).encode())
    assert (frame.shapes, frame.reviewer, frame.size) == ((), "10", None)
    truth = annotation(region(), ground_truth=True, updated_at="2020-01-01T00:00:00Z")
    assert len(read_labelstudio(json.dumps([task(truth, annotation())]).encode())[0].shapes) == 1


def test_all_problems_are_reported_at_once() -> None:
    wrong = [
        region(value={"x": 1, "y": 1, "width": 5, "rectanglelabels": ["person"]}),
        region(value={"x": 1, "y": 1, "width": 5, "height": 5, "rectanglelabels": []}),
        region("brushlabels", value={"format": "rle", "rle": [0], "brushlabels": ["person"]}),
        region(value={"x": 1, "y": 1, "width": 5, "height": 5, "rotation": 30, "rectanglelabels": ["person"]}),
        region(value={"x": "left", "y": 1, "width": 5, "height": 5, "rectanglelabels": ["person"]}),
    ]
    with pytest.raises(ReviewFileError) as caught:
        read_labelstudio(json.dumps([task(annotation(*wrong))]).encode())
    for problem, hint in zip(
        caught.value.problems,
        ("expected x, y, width and height", "expected one label", "brushlabels", "rotated", "value x"),
        strict=True,
    ):
        assert hint in problem
    with pytest.raises(ReviewFileError, match=r"task 1\.annotations"):
        read_labelstudio(json.dumps([{**task(), "annotations": 3}]).encode())
    with pytest.raises(ReviewFileError, match="invalid JSON"):
        read_labelstudio(b"[{")
