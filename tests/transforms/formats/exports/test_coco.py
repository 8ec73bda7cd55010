from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pycocotools.coco import COCO

from tests.circle_material import CATEGORIES, frames, objects
from tests.transforms.formats.exports import material
from transforms.formats.exports import coco
from transforms.formats.exports.coco import coco_files, stable_ids
from transforms.formats.exports.objects import Objects

ROWS = pa.table(
    {
        "stream_id": ["a", "a", "b"],
        "frame_idx": [3, 12, 1],
        "file_name": ["images/train/a/image_3.jpg", "images/val/a/image_12.jpg", "images/train/b/image_1.jpg"],
        "width": [1280, 1280, 640],
        "height": [720, 720, 480],
        "split": ["train", "val", "train"],
    }
)
SPLITS = ["val", "train"]
A_3, B_1 = stable_ids(["a\x1f3", "b\x1f1"])


def test_coco_exports_have_one_file_per_split_with_unique_ids() -> None:
    files = coco_files(ROWS, SPLITS)
    assert sorted(files) == ["annotations/instances_train.json", "annotations/instances_val.json"]
    train = json.loads(files["annotations/instances_train.json"])
    assert train["images"] == [
        {
            "id": A_3,
            "file_name": "images/train/a/image_3.jpg",
            "width": 1280,
            "height": 720,
            "stream_id": "a",
            "frame_idx": 3,
        },
        {
            "id": B_1,
            "file_name": "images/train/b/image_1.jpg",
            "width": 640,
            "height": 480,
            "stream_id": "b",
            "frame_idx": 1,
        },
    ]
    assert (train["annotations"], train["categories"]) == ([], [])


def test_ids_stay_when_frames_come_and_objects_go() -> None:
    whole = ids_of(frames(), objects())
    some = frames().take([29, 3, 17])
    fewer = objects().rows
    fewer = fewer.filter(pc.greater(fewer["score"], 0.5))
    part = ids_of(some, Objects.on(some, fewer.drop_columns(["row", "label"]), CATEGORIES))
    assert part.items() <= whole.items()
    assert (len(whole), len(set(whole.values()))) == (630, 630)
    assert all(0 < number < 2**53 for number in whole.values())
    assert 63 > len(part) > 10


def ids_of(rows: pa.Table, there: Objects) -> dict[str, int]:
    document = json.loads(coco_files(rows, ["train"], there)["annotations/instances_train.json"])
    named = {each["winnow_id"]: each["id"] for each in document["annotations"]}
    return named | {each["stream_id"]: each["id"] for each in document["images"]}


def test_texts_of_one_hash_have_different_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coco, "ID_BITS", 4)
    texts = [f"camera {n}" for n in range(12)]
    ids = stable_ids(texts)
    assert sorted(set(ids)) == sorted(ids)
    assert all(0 < number < 16 for number in ids)
    assert dict(zip(texts[::-1], stable_ids(texts[::-1]), strict=True)) == dict(zip(texts, ids, strict=True))


def test_same_rows_give_the_same_bytes() -> None:
    assert coco_files(ROWS, SPLITS) == coco_files(ROWS, SPLITS)


def test_pycocotools_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "instances.json"
    path.write_bytes(coco_files(ROWS, SPLITS)["annotations/instances_train.json"])
    loaded = COCO(str(path))
    assert sorted(loaded.getImgIds()) == sorted([A_3, B_1])
    assert loaded.getAnnIds() == []


def test_a_split_without_frames_is_an_empty_dataset() -> None:
    files = coco_files(ROWS.slice(0, 0), ["train"])
    document = json.loads(files["annotations/instances_train.json"])
    assert (document["images"], document["annotations"]) == ([], [])


def test_pycocotools_reads_boxes_and_masks(tmp_path: Path) -> None:
    mask = material.two_parts()
    files = coco_files(material.frames(), SPLITS, material.objects(mask))
    path = tmp_path / "instances.json"
    path.write_bytes(files["annotations/instances_train.json"])
    loaded = COCO(str(path))
    assert [c["name"] for c in loaded.loadCats(loaded.getCatIds())] == list(material.CATEGORIES)
    images = {each["file_name"][-7:]: number for number, each in loaded.imgs.items()}
    cat, person = loaded.loadAnns(loaded.getAnnIds(imgIds=[images["f_1.jpg"]]))
    assert cat["id"] == stable_ids([cat["winnow_id"]])[0]
    assert (cat["category_id"], cat["bbox"], cat["score"]) == (3, [8.25, 4.5, 60, 50], 0.75)
    assert np.array_equal(loaded.annToMask(cat), mask)
    assert cat["area"] == mask.sum()
    assert (person["segmentation"], person["area"], person["winnow_id"]) == ([], 200, f"{1:032x}")
    assert loaded.getAnnIds(imgIds=[images["f_2.jpg"]]) == []
    # Categories are the same in each split.
    other = json.loads(files["annotations/instances_val.json"])
    assert [(a["image_id"], a["track_id"]) for a in other["annotations"]] == [(other["images"][0]["id"], 4)]
    assert other["categories"] == loaded.dataset["categories"]


def test_supervision_reads_boxes_and_masks(tmp_path: Path) -> None:
    sv = pytest.importorskip("supervision", reason="supervision is not installed")
    mask = material.two_parts()
    folder = material.written(tmp_path, coco_files(material.frames(), SPLITS, material.objects(mask)))
    boxes = material.written(tmp_path / "boxes", coco_files(material.frames(), SPLITS, material.objects()))
    for place in (folder, boxes):
        read = sv.DetectionDataset.from_coco(str(place), str(place / "annotations/instances_train.json"))
        assert read.classes == list(material.CATEGORIES)
        found = {Path(path).name: detections for path, _, detections in read}
        assert sorted(found) == ["f_1.jpg", "f_2.jpg"]
        assert found["f_1.jpg"].class_id.tolist() == [2, 0]
        np.testing.assert_allclose(found["f_1.jpg"].xyxy, np.array([[8.25, 4.5, 68.25, 54.5], [10.0, 5.0, 30.0, 15.0]]))
        assert len(found["f_2.jpg"]) == 0
    masked = sv.DetectionDataset.from_coco(str(folder), str(folder / "annotations/instances_train.json"))
    first = next(d for path, _, d in masked if path.endswith("f_1.jpg"))
    assert np.array_equal(np.asarray(first.mask)[0], mask.astype(bool))
