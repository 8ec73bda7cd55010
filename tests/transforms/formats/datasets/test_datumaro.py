from __future__ import annotations

import json
from typing import Any

import pytest

import schemas
from tests.circle_material import STREAMS, decided_as_new, frames, objects
from transforms.formats.datasets.datumaro import read_datumaro
from transforms.formats.exports.datumaro import datumaro_files
from transforms.formats.reviewing.shapes import ReviewFileError

COLUMNS = [
    name
    for name in (*schemas.OBJECT_COLUMNS, *schemas.COLUMNS_BY_PEOPLE)
    if name not in {"annotation_id", "source", "model", "weights_hash", "score"}
]


def document(*annotations: dict[str, Any]) -> bytes:
    labels = [{"name": "car", "parent": "", "attributes": []}, {"name": "red light"}]
    item = {"id": "a/1", "annotations": list(annotations), "image": {"path": "a/1.png", "size": [100, 200]}}
    return json.dumps({"categories": {"label": {"labels": labels}}, "items": [item]}).encode()


def test_600_objects_of_every_kind_come_back_to_the_last_bit() -> None:
    there = objects()
    (data,) = datumaro_files(frames(), ["train"], there).values()
    file = read_datumaro(data)
    assert (file.problems, file.unsupported, len(file.frames)) == ([], [], len(STREAMS))
    n = 0
    for row, (frame, found) in enumerate(zip(file.frames, decided_as_new(file.frames), strict=True)):
        assert found.problems == []
        for shape, decision, each in zip(frame.shapes, found.decisions, there.of(row), strict=True):
            n += 1
            assert shape.score == pytest.approx(each["score"], abs=1e-6)
            for column in COLUMNS:
                if column.startswith("bbox") or column == "rotation":
                    # The file has hundredths of a pixel; a mask knows its box.
                    assert decision[column] == pytest.approx(each[column], abs=0.011), (column, each)
                else:
                    assert decision.get(column) == each[column], (column, each)
    assert n == 600


def test_annotations_of_a_group_are_one_object_for_each_label() -> None:
    box = {"type": "bbox", "bbox": [10, 10, 20, 20], "group": 3, "label_id": 0}
    ring = {"type": "polygon", "points": [10, 10, 30, 10, 30, 30], "group": 3, "label_id": 0}
    other = {"type": "bbox", "bbox": [1, 1, 5, 5], "group": 3, "label_id": 1}
    scene = {"type": "label", "label_id": 1}
    (frame,) = read_datumaro(document(box, ring, other, scene)).frames
    assert [(shape.category, shape.box, len(shape.rings)) for shape in frame.shapes] == [
        ("car", (10, 10, 20, 20), 1),
        ("red light", (1, 1, 5, 5), 0),
    ]
    assert (frame.name, frame.size, frame.tags) == ("a/1.png", (200, 100), ("red light",))


def test_boxes_that_are_grouped_stay_objects_of_their_own() -> None:
    """CVAT groups objects, of one label also: a group of boxes alone is no object in parts."""
    boxes = [{"type": "bbox", "bbox": [10 * at, 10, 5, 5], "group": 3, "label_id": 0} for at in (1, 3)]
    file = read_datumaro(document(*boxes))
    assert (file.problems, [shape.box for shape in file.frames[0].shapes]) == ([], [(10, 10, 5, 5), (30, 10, 5, 5)])


@pytest.mark.parametrize(
    ("annotation", "problem"),
    [
        ({"type": "label", "label_id": 5}, "expected a label_id below 2, found 5"),
        ({"type": "bbox", "bbox": [1, 1, 5, 5], "label_id": 2}, "expected a label_id below 2, found 2"),
        ({"type": "bbox", "label_id": 0}, "expected a box, polygons or run lengths, found none of them"),
        ({"type": "polygon", "points": [1, 1, 5, 5], "label_id": 0}, "x and y of at least three points"),
        ({"type": "mask", "rle": {"size": [9, 9], "counts": [81]}, "label_id": 0}, "expected the size [100, 200]"),
        (
            {"type": "bbox", "bbox": [1, 1, 5, 5], "label_id": 0, "attributes": {"rotation": "left"}},
            "attributes.rotation: expected a number, found 'left'",
        ),
    ],
)
def test_what_is_wrong_is_named_by_item_and_annotation(annotation: dict[str, Any], problem: str) -> None:
    file = read_datumaro(document({"id": 7, **annotation}))
    assert len(file.problems) == 1
    assert file.problems[0].startswith("item a/1, annotation 7: ")
    assert problem in file.problems[0]


def test_other_shapes_are_named() -> None:
    file = read_datumaro(document({"id": 1, "type": "points", "points": [1, 1, 2], "label_id": 0}))
    assert file.unsupported == ["item a/1, annotation 1: points"]


def test_another_document_is_refused() -> None:
    with pytest.raises(ReviewFileError):
        read_datumaro(b'{"items": 3}')
