from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tests.transforms.formats.exports.material import HEIGHT, WIDTH, frames, objects, rle, two_parts
from transforms.formats.exports.objects import mask_of
from transforms.formats.reviewing.coco import read_review_coco, review_coco_files
from transforms.formats.reviewing.shapes import ReviewFileError

ID = f"{1:032x}"


def document(*annotations: dict[str, Any], **more: Any) -> bytes:
    """Return a file as CVAT exports `COCO 1.0`."""
    found = {
        "licenses": [{"name": "", "id": 0, "url": ""}],
        "info": {"contributor": "", "date_created": "", "description": "", "url": "", "version": "", "year": ""},
        "categories": [{"id": 1, "name": "person", "supercategory": ""}],
        "images": [
            {
                "id": 1,
                "width": WIDTH,
                "height": HEIGHT,
                "file_name": "a/00000001-aaaaaaaaaaaaaaaa.jpg",
                "license": 0,
                "flickr_url": "",
                "coco_url": "",
                "date_captured": 0,
            }
        ],
        "annotations": [
            {"id": at, "image_id": 1, "category_id": 1, "area": 1.0, "iscrowd": 0, **each}
            for at, each in enumerate(annotations, 1)
        ],
    }
    return json.dumps({**found, **more}).encode()


def test_exports_of_tools_are_read() -> None:
    attributes = {"occluded": False, "rotation": 0.0, "annotation_id": ID}
    corners = [10.0, 5.0, 30.0, 5.0, 30.0, 15.0, 10.0, 15.0]
    triangle = [1.0, 1.0, 9.0, 1.0, 9.0, 8.0]
    (frame,) = read_review_coco(
        document(
            {"bbox": [10.0, 5.0, 20.0, 10.0], "segmentation": [], "attributes": attributes},
            {"bbox": [10.0, 5.0, 20.0, 10.0], "segmentation": [corners], "winnow_id": f"{2:032x}"},
            {"bbox": [1.0, 1.0, 8.0, 7.0], "segmentation": [triangle]},
            {"bbox": [10.0, 5.0, 20.0, 10.0]},
        ),
        {"4": f"{4:032x}"},
    ).frames
    assert (frame.size, frame.reviewer, frame.reviewed_ns) == ((WIDTH, HEIGHT), None, None)
    assert [s.annotation_id for s in frame.shapes] == [ID, f"{2:032x}", None, None]
    assert [s.numbered_id for s in frame.shapes] == [None, None, None, f"{4:032x}"]
    assert [s.attributes for s in frame.shapes] == [{}] * 4
    # A polygon of the box's four corners may be the box; one of three corners is not.
    assert [len(s.rings) for s in frame.shapes] == [0, 1, 1, 0]
    assert [s.repeats_box for s in frame.shapes] == [False, True, False, False]
    assert {s.box for s in frame.shapes[:2]} == {(10, 5, 20, 10)}


def test_written_files_are_read_back() -> None:
    mask = two_parts()
    files = review_coco_files(frames().drop_columns(["split"]), objects(mask))
    ids = json.loads(files["ids.json"])
    sent = [[o["annotation_id"] for o in objects(mask).of(row)] for row in range(3)]
    lost = files["annotations.json"].replace(b"winnow_id", b"lost_id")
    for data in (files["annotations.json"], lost):
        back = read_review_coco(data, ids).frames
        assert [[s.numbered_id for s in f.shapes] for f in back] == sent
        assert [[s.annotation_id for s in f.shapes] for f in back] == (
            [[None] * len(names) for names in sent] if data == lost else sent
        )
        assert back[0].shapes[0].mask_rle == rle(mask)
        assert back[2].shapes[0].track_id == 4


def test_uncompressed_run_lengths_are_read() -> None:
    counts = [HEIGHT + 2, 3, WIDTH * HEIGHT - HEIGHT - 5]
    data = document({"bbox": [1, 2, 1, 3], "segmentation": {"size": [HEIGHT, WIDTH], "counts": counts}})
    (shape,) = read_review_coco(data).frames[0].shapes
    mask = mask_of({"mask_rle": shape.mask_rle}, WIDTH, HEIGHT)
    # Column-major: the second column, from the third row on.
    assert sorted(map(tuple, np.argwhere(mask).tolist())) == [(2, 1), (3, 1), (4, 1)]


def test_all_problems_are_reported_at_once() -> None:
    found = read_review_coco(
        document(
            {"bbox": [1, 1, 2, 2], "image_id": 9},
            {"bbox": [1, 1, 2, 2], "category_id": 9},
            {"segmentation": []},
            {"bbox": [1, 1, 2, 2], "segmentation": [[1, 2, 3]]},
            {"bbox": [1, 1, 2, 2], "segmentation": {"size": [2, 2], "counts": [4]}},
            {"bbox": [1, 1, 2, 2], "segmentation": {"size": [HEIGHT, WIDTH], "counts": [4]}},
            {"bbox": [1, 1, 2, 2], "attributes": {"rotation": "left"}, "id": 70},
        )
    )
    hints = ("image_id", "bbox", "at least three points", "its size is 2x2", "add up to", "degrees", "category_id")
    for problem, hint in zip(found.problems, hints, strict=True):
        assert hint in problem
    assert found.problems[-2].startswith("annotation 7 (id 70)")
    with pytest.raises(ReviewFileError, match="images"):
        read_review_coco(document(images=3))
    with pytest.raises(ReviewFileError, match=r"annotations\.1 \(id 1\)\.bbox"):
        read_review_coco(document({"bbox": [1, 2, 3]}))


@pytest.mark.parametrize("counts", ["zzzz garbage", "", "0", "P" * 40])
def test_malformed_run_lengths_are_reported_with_their_location(counts: str) -> None:
    mask = {"size": [HEIGHT, WIDTH], "counts": counts}
    found = read_review_coco(document({"bbox": [1, 1, 2, 2]}, {"bbox": [1, 2, 1, 3], "segmentation": mask}))
    (problem,) = found.problems
    assert problem.startswith("annotation 2 (id 2): segmentation: expected ")
    assert len(found.frames[0].shapes) == 1


def test_declared_fields_of_a_coco_review_are_read() -> None:
    crowd = {"size": [HEIGHT, WIDTH], "counts": [HEIGHT + 2, 3, WIDTH * HEIGHT - HEIGHT - 5]}
    keypoints = {"bbox": [1, 1, 9, 9], "keypoints": [1, 2, 2], "num_keypoints": 1}
    found = read_review_coco(
        document(
            {"bbox": [1, 2, 1, 3], "segmentation": crowd, "iscrowd": 1},
            {"bbox": [10, 20, 30, 10], "attributes": {"rotation": 450.0, "winnow_id": ID, "track_id": 7}},
            {"bbox": [10, 20, 30, 10], "attributes": {"occluded": True, "colour": "red", "rotation": 360}},
            {"bbox": [10, 20, 30, 10], "attributes": None, "keypoints": [0, 0, 0]},
            keypoints,
        )
    )
    masked, turned, described, plain, pointed = found.frames[0].shapes
    assert (masked.is_crowd, turned.is_crowd, turned.rotation) == (True, False, 90)
    assert (turned.annotation_id, turned.track_id, turned.attributes) == (ID, 7, {})
    assert (described.attributes, described.rotation) == ({"occluded": True, "colour": "red"}, 0)
    assert (plain.attributes, pointed.box) == ({}, (1, 1, 9, 9))
    assert found.unsupported == ["annotation 5 (id 5): keypoints"]
    assert found.problems == []
