from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.transforms.formats.exports.material import frames, objects, written
from transforms.formats.exports.voc import voc_files

SPLITS = ["train", "val"]


def test_voc_exports_have_a_file_per_image_and_a_list_per_split() -> None:
    files = voc_files(frames("JPEGImages/"), SPLITS, objects())
    assert sorted(files) == [
        "Annotations/train/a/f_1.xml",
        "Annotations/train/a/f_2.xml",
        "Annotations/val/b.c/f_7.xml",
        "ImageSets/Main/train.txt",
        "ImageSets/Main/val.txt",
        "labelmap.txt",
    ]
    label_map = files["labelmap.txt"].decode().splitlines()
    assert label_map[1:] == ["background:0,0,0::", "person:128,0,0::", "wild dog:0,128,0::", "cat:128,128,0::"]
    assert files["ImageSets/Main/train.txt"] == b"train/a/f_1\ntrain/a/f_2\n"
    root = ET.fromstring(files["Annotations/train/a/f_1.xml"])
    assert (root.findtext("folder"), root.findtext("filename")) == ("JPEGImages/train/a", "f_1.jpg")
    assert [root.findtext(f"size/{n}") for n in ("width", "height", "depth")] == ["80", "60", "3"]
    assert [o.findtext("name") for o in root.findall("object")] == ["cat", "person"]
    box = root.findall("object")[1].find("bndbox")
    assert box is not None
    # Pixels 10 to 29 and 5 to 14, counted from 1.
    assert {e.tag: e.text for e in box} == {"xmin": "11", "ymin": "6", "xmax": "30", "ymax": "15"}
    assert ET.fromstring(files["Annotations/train/a/f_2.xml"]).findall("object") == []
    dog = ET.fromstring(files["Annotations/val/b.c/f_7.xml"]).find("object/bndbox")
    assert dog is not None
    assert dog.findtext("xmax") == "80"


def test_same_rows_give_the_same_bytes() -> None:
    rows = frames("JPEGImages/")
    assert voc_files(rows, SPLITS, objects()) == voc_files(rows, SPLITS, objects())


def test_supervision_reads_the_export(tmp_path: Path) -> None:
    sv = pytest.importorskip("supervision", reason="supervision is not installed")
    folder = written(tmp_path, voc_files(frames("JPEGImages/"), SPLITS, objects()), "JPEGImages/")
    read = sv.DetectionDataset.from_pascal_voc(str(folder / "JPEGImages/train/a"), str(folder / "Annotations/train/a"))
    found = {Path(path).name: detections for path, _, detections in read}
    assert [read.classes[label] for label in found["f_1.jpg"].class_id] == ["cat", "person"]
    assert found["f_1.jpg"].xyxy[1].tolist() == [10, 5, 30, 15]
    assert len(found["f_2.jpg"]) == 0
