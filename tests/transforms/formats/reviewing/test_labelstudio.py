from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from tests.transforms.formats.exports.material import (
    CATEGORIES,
    HEIGHT,
    WIDTH,
    frames,
    objects,
    two_parts,
    with_columns,
)
from transforms.formats.exports.objects import mask_of
from transforms.formats.reviewing.annotator_policy import Policy
from transforms.formats.reviewing.labelstudio import labelstudio_files
from transforms.formats.reviewing.labelstudio_read import read_labelstudio
from transforms.formats.reviewing.shapes import Returned, ReviewFileError

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


def read(*tasks: dict[str, Any]) -> list[Returned]:
    return read_labelstudio(json.dumps(tasks).encode()).frames


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
    names = {e.get("name"): e.get("toName") for e in view}
    assert names == {"image": None, "box": "image", "outline": "image", "brush": "image"}
    assert [e.get("value") for e in view.findall("RectangleLabels/Label")] == list(CATEGORIES)
    assert cat["from_name"] == "box"


def test_masks_are_outlines_or_a_brush() -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[10:20, 5:15] = 1
    files = labelstudio_files(frames(), objects(mask), "")
    cat = json.loads(files["tasks.json"])[0]["predictions"][0]["result"][0]
    assert (cat["type"], cat["from_name"]) == ("polygonlabels", "outline")
    (shape,) = read(task(annotation(cat)))[0].shapes
    assert np.allclose(shape.rings, [[(5, 10), (15, 10), (15, 20), (5, 20)]])
    files = labelstudio_files(frames(), objects(two_parts()), "")
    cat = json.loads(files["tasks.json"])[0]["predictions"][0]["result"][0]
    assert (cat["type"], cat["from_name"]) == ("brushlabels", "brush")
    (shape,) = read(task(annotation(cat)))[0].shapes
    assert np.array_equal(mask_of({"mask_rle": shape.mask_rle}, WIDTH, HEIGHT), two_parts())


def test_turned_boxes_are_read_and_written() -> None:
    sent = with_columns(objects(), rotation=30.0)
    cat = json.loads(labelstudio_files(frames(), sent, "")["tasks.json"])[0]["predictions"][0]["result"][0]
    assert cat["value"]["rotation"] == 30
    (shape,) = read(task(annotation(cat)))[0].shapes
    assert shape.rotation == 30
    assert shape.box == pytest.approx((8.25, 4.5, 60, 50))
    # About the upper left corner, here at (40, 6): a quarter turn puts the box to the left of it.
    value = {"x": 50, "y": 10, "width": 25, "height": 20, "rotation": 90, "rectanglelabels": ["person"]}
    (shape,) = read(task(annotation(region(value=value))))[0].shapes
    assert shape.box == pytest.approx((24, 10, 20, 12))
    (upright,) = read(task(annotation(region(value={**value, "rotation": 360}))))[0].shapes
    assert (upright.rotation, upright.box) == (0, (40, 6, 20, 12))


def test_relations_choices_and_missing_meta_are_read() -> None:
    relation = {"type": "relation", "from_id": ID, "to_id": "other", "direction": "right", "labels": ["holds"]}
    chosen = region("choices", ID, value={"choices": ["hidden"]}, from_name="state")
    whole = region("choices", "c1", value={"choices": ["rain"]})
    (frame,) = read(task(annotation(region(name=ID, meta=None), region(name="other"), relation, chosen, whole)))
    attributes = {"relations": [{"to": "other", "direction": "right", "labels": ["holds"]}], "state": ["hidden"]}
    assert [s.attributes for s in frame.shapes] == [attributes, {}]
    assert frame.tags == ("rain",)
    sent = with_columns(objects(), attributes=json.dumps({"relations": [{"to": ID, "labels": ["holds"]}]}))
    result = json.loads(labelstudio_files(frames(), sent, "")["tasks.json"])[0]["predictions"][0]["result"]
    assert result[-1] == {"type": "relation", "from_id": f"{2:032x}", "to_id": ID, "labels": ["holds"]}


def test_policies_combine_annotations_of_several_people() -> None:
    def of(who: str, hour: int, *lefts: float) -> dict[str, Any]:
        values = [{"x": x, "y": 10, "width": 20, "height": 20, "rectanglelabels": ["person"]} for x in lefts]
        regions = [region(name=f"{who}{at}", value=value) for at, value in enumerate(values)]
        return annotation(*regions, completed_by={"email": who}, updated_at=f"2026-03-09T{hour:02}:00:00Z")

    # The first is by all, the second by two, the last ones by one each.
    several = [of("ada", 9, 0, 30), of("bo", 10, 1, 31, 70), of("eve", 8, 2)]
    data = json.dumps([task(*several), task(annotation(was_cancelled=True), number=8)]).encode()

    def lefts(reviewer: str | None = None, policy: Policy | None = None) -> tuple[list[float], str | None]:
        (frame,) = read_labelstudio(data, reviewer, policy).frames
        return sorted(round(s.box[0] / 0.8) for s in frame.shapes), frame.reviewer

    assert lefts() == lefts(policy="latest") == ([1, 31, 70], "bo")
    assert lefts("ada") == ([0, 30], "ada")
    assert lefts(policy="consensus") == ([1, 31], "ada, bo, eve")
    assert lefts(policy="all") == ([1, 31, 70], "ada, bo, eve")
    skipped, said = read_labelstudio(data).notes
    assert skipped.startswith("1 tasks were skipped")
    assert said.startswith("1 tasks were annotated by several people; the latest counts")


def test_tasks_that_nobody_submitted_are_counted() -> None:
    found = read_labelstudio(json.dumps([task(annotation(region())), task(number=8), task(number=9)]).encode())
    assert len(found.frames) == 1
    assert found.notes == ["2 tasks were submitted by nobody, and are not taken for reviewed"]


@pytest.mark.parametrize(
    ("chosen", "tags"), [(None, None), ([], None), ("night", ("night",)), (["a", "b"], ("a", "b"))]
)
def test_choices_are_a_list_or_one_or_none(chosen: Any, tags: tuple[str, ...] | None) -> None:
    data = json.dumps([task(annotation(region(), region("choices", value={"choices": chosen}, name="zz")))]).encode()
    assert read_labelstudio(data).frames[0].tags == tags


def test_exports_of_label_studio_are_read() -> None:
    person = {"id": 10, "email": "ada@example.org", "first_name": "", "last_name": "", "username": "ada"}
    regions = [region(name=ID), region(meta={"text": ["hard to", "see"]}), region("choices", value={"choices": ["ok"]})]
    older = annotation(updated_at="2026-03-09T20:00:00Z")
    data = json.dumps([task(older, annotation(*regions, completed_by=person))]).encode()
    (frame,) = read_labelstudio(data).frames
    assert frame.name.endswith("/a b/00000001-aaaaaaaaaaaaaaaa.jpg")
    assert (frame.place, frame.reviewer, frame.size) == ("task 7", "ada@example.org", (80, 60))
    assert frame.reviewed_ns == 1773094568728378000
    mine, drawn = frame.shapes
    assert (mine.annotation_id, mine.category, mine.box) == (ID, "person", (10, 6, 20, 12))
    assert (drawn.annotation_id, drawn.note) == ("Dx_aB91ISN", "hard to see")


def test_tasks_without_annotation_and_skipped_tasks_are_left_out() -> None:
    skipped = annotation(was_cancelled=True)
    assert read(task(), task(skipped, number=8)) == []
    # An empty annotation counts: the frame has no objects.
    (frame,) = read(task(skipped, annotation()))
    assert (frame.shapes, frame.reviewer, frame.size) == ((), "10", None)
    truth = annotation(region(), ground_truth=True, updated_at="2020-01-01T00:00:00Z")
    assert len(read(task(truth, annotation()))[0].shapes) == 1


def test_all_problems_are_reported_at_once() -> None:
    wrong = [
        region(value={"x": 1, "y": 1, "width": 5, "rectanglelabels": ["person"]}),
        region(value={"x": 1, "y": 1, "width": 5, "height": 5, "rectanglelabels": []}),
        region("brushlabels", value={"format": "rle", "rle": [0], "brushlabels": ["person"]}),
        region("keypointlabels", value={"x": 1, "y": 1, "keypointlabels": ["person"]}),
        region(value={"x": "left", "y": 1, "width": 5, "height": 5, "rectanglelabels": ["person"]}),
    ]
    found = read_labelstudio(json.dumps([task(annotation(*wrong))]).encode())
    hints = ("expected x, y, width and height", "expected one label", "it ends too early", "value x")
    for problem, hint in zip(found.problems, hints, strict=True):
        assert problem.startswith("task 7, region ")
        assert "(id Dx_aB91ISN)" in problem
        assert hint in problem
    assert found.unsupported == [
        "task 7, region 4 (id Dx_aB91ISN): keypointlabels: expected rectanglelabels or polygonlabels or brushlabels"
    ]
    with pytest.raises(ReviewFileError, match=r"task 1 \(id 7\)\.annotations"):
        read_labelstudio(json.dumps([{**task(), "annotations": 3}]).encode())
    with pytest.raises(ReviewFileError, match="invalid JSON"):
        read_labelstudio(b"[{")
