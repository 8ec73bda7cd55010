from __future__ import annotations

import json

import numpy as np
from pycocotools import mask as masks

from tests.transforms.exports.material import CATEGORIES, HEIGHT, WIDTH, frames, objects, two_parts
from transforms.exports.datumaro import datumaro_files
from transforms.exports.objects import Objects

SPLITS = ["val", "train"]


def test_items_with_boxes_and_masks_and_without_any() -> None:
    mask = two_parts()
    files = datumaro_files(frames(), SPLITS, objects(mask))
    assert sorted(files) == ["annotations/train.json", "annotations/val.json"]
    train, val = (json.loads(files[f"annotations/{split}.json"]) for split in ("train", "val"))
    assert (train["dm_format_version"], train["media_type"]) == ("1.0", 2)
    assert [label["name"] for label in train["categories"]["label"]["labels"]] == list(CATEGORIES)
    assert train["categories"] == val["categories"]
    first, negative = train["items"]
    assert first["image"] == {"path": "a/f_1.jpg", "size": [HEIGHT, WIDTH]}
    assert (first["id"], first["attr"], negative["annotations"]) == ("a/f_1", {"stream_id": "a", "frame": 1}, [])
    box, shape, person = first["annotations"]
    assert (box["type"], box["bbox"], box["label_id"]) == ("bbox", [8.25, 4.5, 60, 50], 2)
    assert (box["id"], box["group"]) == (1, 1)
    assert (shape["type"], shape["group"], shape["rle"]["size"]) == ("mask", 1, [HEIGHT, WIDTH])
    assert np.array_equal(masks.decode(shape["rle"] | {"counts": shape["rle"]["counts"].encode()}), mask)
    assert (person["attributes"], person["group"]) == ({"score": 0.5, "winnow_id": f"{1:032x}"}, 0)
    assert val["items"][0]["annotations"][0]["attributes"]["track_id"] == 4


def test_same_rows_give_the_same_bytes_and_none_will_do() -> None:
    assert datumaro_files(frames(), SPLITS, objects()) == datumaro_files(frames(), SPLITS, objects())
    empty = json.loads(datumaro_files(frames().slice(0, 0), SPLITS, Objects.none())["annotations/val.json"])
    assert (empty["items"], empty["categories"]["label"]["labels"]) == ([], [])
