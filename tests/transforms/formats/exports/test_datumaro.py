from __future__ import annotations

import json
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as masks

from tests.transforms.formats.exports.material import CATEGORIES, HEIGHT, WIDTH, frames, objects, two_parts
from transforms.formats.exports.datumaro import datumaro_files
from transforms.formats.exports.objects import Objects

pytestmark = pytest.mark.process

SPLITS = ["val", "train"]

# Prints a dataset as Datumaro reads it. It requires an older Arrow than ours, and so has its own environment.
LOADER = """
import json, sys
from datumaro import AnnotationType, Dataset
dataset = Dataset.import_from(sys.argv[1], "datumaro")
labels = [label.name for label in dataset.categories()[AnnotationType.label]]
items = [
    {
        "id": item.id,
        "subset": item.subset,
        "shape": item.media.data.shape,
        "attributes": item.attributes,
        "objects": [
            {
                "kind": each.type.name,
                "label": labels[each.label],
                "group": each.group,
                "attributes": each.attributes,
                "box": [float(x) for x in each.get_bbox()],
                "area": float(each.get_area()),
            }
            for each in item.annotations
        ],
    }
    for item in dataset
]
print(json.dumps({"labels": labels, "items": items}))
"""


def test_items_have_boxes_and_masks_or_nothing() -> None:
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


def test_same_rows_give_the_same_bytes_and_no_rows_are_allowed() -> None:
    assert datumaro_files(frames(), SPLITS, objects()) == datumaro_files(frames(), SPLITS, objects())
    empty = json.loads(datumaro_files(frames().slice(0, 0), SPLITS, Objects.none())["annotations/val.json"])
    assert (empty["items"], empty["categories"]["label"]["labels"]) == ([], [])


def test_datumaro_reads_the_export(tmp_path: Path, datumaro: Path) -> None:
    mask = two_parts()
    for name, content in datumaro_files(frames(), SPLITS, objects(mask)).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    for frame in frames().to_pylist():
        (tmp_path / frame["file_name"]).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / frame["file_name"]), np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
    out = subprocess.run([datumaro, "-c", LOADER, tmp_path], check=True, stdout=subprocess.PIPE, text=True).stdout
    loaded = json.loads(out.splitlines()[-1])
    assert loaded["labels"] == list(CATEGORIES)
    first, negative, other = sorted(loaded["items"], key=lambda item: str(item["id"]))
    assert [(i["id"], i["subset"]) for i in (first, negative, other)] == [
        ("a/f_1", "train"),
        ("a/f_2", "train"),
        ("b.c/f_7", "val"),
    ]
    assert all(item["shape"] == [HEIGHT, WIDTH, 3] for item in loaded["items"])
    assert negative["objects"] == []
    assert first["attributes"] == {"stream_id": "a", "frame": 1}
    box, shape, person = first["objects"]
    assert (box["kind"], box["label"], box["box"]) == ("bbox", CATEGORIES[2], [8.25, 4.5, 60, 50])
    assert (shape["kind"], shape["label"], shape["area"]) == ("mask", CATEGORIES[2], mask.sum())
    assert box["group"] == shape["group"] != person["group"]
    assert (person["label"], person["box"], person["attributes"]["score"]) == (CATEGORIES[0], [10, 5, 20, 10], 0.5)
    assert other["objects"][0]["attributes"]["track_id"] == 4
