from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobs.analysis.coco_input import read_detections, read_ground_truth
from jobs.core.errors import UserError
from transforms.assess.detection_scores import score

CATEGORIES = [{"id": 7, "name": "cat"}, {"id": 9, "name": "dog"}]
IMAGES = [{"id": 1, "file_name": "a.jpg"}, {"id": "two", "file_name": "b.jpg"}]


def written(folder: Path, document: Any) -> Path:
    path = folder / "file.json"
    path.write_text(json.dumps(document))
    return path


def test_missing_fields_are_filled_in(tmp_path: Path) -> None:
    annotations = [{"id": 0, "image_id": "two", "category_id": 9, "bbox": [1, 2, 3, 4.5]}]
    document = read_ground_truth(
        written(tmp_path, {"images": IMAGES, "categories": CATEGORIES, "annotations": annotations})
    )
    assert document["annotations"] == [annotations[0] | {"id": 1, "area": 13.5, "iscrowd": 0}]


def test_all_problems_of_ground_truth_are_reported_at_once(tmp_path: Path) -> None:
    document = {
        "images": [*IMAGES, {"id": 1, "file_name": "c.jpg"}, {"id": 3}],
        "categories": [*CATEGORIES, {"id": 8, "name": "dog"}],
        "annotations": [
            {"image_id": 5, "category_id": 7, "bbox": [0, 0, 1, 1]},
            {"image_id": 1, "category_id": None, "bbox": [0, 0, -1, 1]},
            {"image_id": 1, "category_id": 7},
            "x",
        ],
    }
    with pytest.raises(UserError) as caught:
        read_ground_truth(written(tmp_path, document))
    texts = [p.removeprefix(f"ground truth {tmp_path / 'file.json'}: ") for p in caught.value.problems]
    assert texts == [
        "image 4: expected an object with id and file_name, found {'id': 3}",
        "annotation 1, image_id: expected the id of an image of the ground truth, found 5",
        "annotation 2, category_id: expected the id of a category of the ground truth, found None",
        "annotation 2, bbox: expected x, y, width and height with sizes from 0, found [0, 0, -1, 1]",
        "annotation 3, bbox: expected x, y, width and height, found nothing",
        "annotation 4, expected an object, found 'x'",
        "images: id 1 occurs 2 times, expected once",
        "categories: name 'dog' occurs 2 times, expected once",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "expected JSON"),
        ("[]", "expected an object with lists of images"),
        ('{"images": 3}', "expected an object"),
    ],
)
def test_files_that_are_no_ground_truth_are_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(UserError, match=said):
        read_ground_truth(tmp_path / "t.json")
    with pytest.raises(UserError, match="No such file"):
        read_ground_truth(tmp_path / "none.json")


def test_all_problems_of_results_are_reported_at_once(tmp_path: Path) -> None:
    truth = {"images": IMAGES, "categories": CATEGORIES, "annotations": []}
    good = {"image_id": 1, "category_id": 7, "bbox": [0, 0, 1, 1], "score": 0.5}
    assert read_detections(written(tmp_path, [good]), truth) == [good]
    rows = [good | {"score": float("nan")}, good | {"image_id": 8}, good | {"bbox": [1]}, *([{}] * 9)]
    with pytest.raises(UserError) as caught:
        read_detections(written(tmp_path, rows), truth)
    assert "object 1, score: expected a number, found nan" in caught.value.problems[0]
    assert "object 2, image_id" in caught.value.problems[1]
    assert "object 3, bbox" in caught.value.problems[2]
    assert caught.value.problems[-1].endswith("… and 29 more")
    with pytest.raises(UserError, match="expected a list of objects"):
        read_detections(written(tmp_path, {}), truth)


SIZED = [{"id": 1, "file_name": "a.jpg", "width": 100, "height": 80}]
SQUARE = [[0, 0, 10, 0, 10, 10, 0, 10]]


def test_invalid_masks_are_refused_before_decoding(tmp_path: Path) -> None:
    wrong: list[Any] = [{"size": [80, 100], "counts": "zzzz garbage"}, [[1, 2, 3]], {"size": [8, 10], "counts": [80]}]
    rows = [{"image_id": 1, "category_id": 7, "score": 0.5, "segmentation": mask} for mask in wrong]
    truth = {"images": SIZED, "categories": CATEGORIES, "annotations": rows}
    with pytest.raises(UserError) as caught:
        read_ground_truth(written(tmp_path, truth), "segm")
    hints = ["annotation 1, segmentation", "annotation 2, segmentation", "annotation 3, segmentation"]
    assert [hint in text for hint, text in zip(hints, caught.value.problems, strict=True)] == [True] * 3
    with pytest.raises(UserError) as caught:
        read_detections(written(tmp_path, rows), {**truth, "annotations": []}, "segm")
    hints = ["object 1, segmentation: expected COCO's", "object 2, segmentation: expected x and y", "object 3, segm"]
    assert [hint in text for hint, text in zip(hints, caught.value.problems, strict=True)] == [True] * 3
    unsized = {"images": IMAGES[:1], "categories": CATEGORIES, "annotations": rows[:1]}
    with pytest.raises(UserError, match="image 1: expected width and height"):
        read_ground_truth(written(tmp_path, unsized), "segm")


def test_results_may_be_polygons(tmp_path: Path) -> None:
    row = {"id": 1, "image_id": 1, "category_id": 7, "segmentation": SQUARE}
    truth = read_ground_truth(
        written(tmp_path, {"images": SIZED, "categories": CATEGORIES, "annotations": [row | {"iscrowd": 0}]}), "segm"
    )
    counts = [0, *[10, 70] * 9, 10, 7270]
    for mask in (SQUARE, {"size": [80, 100], "counts": counts}):
        found = read_detections(written(tmp_path, [row | {"score": 0.5, "segmentation": mask}]), truth, "segm")
        assert score(truth, found, "segm", 0.5).metrics["AP"] == pytest.approx(1.0)
