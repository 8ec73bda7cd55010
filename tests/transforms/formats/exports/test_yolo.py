from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.formats.exports.material import (
    CATEGORIES,
    HEIGHT,
    WIDTH,
    frames,
    objects,
    two_parts,
    with_columns,
    written,
)
from transforms.formats.exports.losses import losses
from transforms.formats.exports.objects import Objects
from transforms.formats.exports.yolo import Task, holds, yolo_files

SPLITS = ["train", "val"]


def numbers(data: bytes) -> list[list[float]]:
    return [[float(word) for word in line.split()] for line in data.decode().splitlines()]


def test_boxes_are_relative_to_the_image_and_negatives_are_empty() -> None:
    files = yolo_files("detect")(frames(), SPLITS, objects())
    assert sorted(files) == ["data.yaml", "labels/train/a/f_1.txt", "labels/train/a/f_2.txt", "labels/val/b.c/f_7.txt"]
    assert files["labels/train/a/f_2.txt"] == b""
    cat, person = numbers(files["labels/train/a/f_1.txt"])
    np.testing.assert_allclose(cat, [2, 38.25 / WIDTH, 29.5 / HEIGHT, 60 / WIDTH, 50 / HEIGHT], atol=1e-6)
    assert person[0] == 0
    # Boxes are clipped to the image: 60 to 80 of 60 to 100.
    np.testing.assert_allclose(
        numbers(files["labels/val/b.c/f_7.txt"]), [[1, 70 / WIDTH, 40 / HEIGHT, 20 / WIDTH, 20 / HEIGHT]], atol=1e-6
    )


def block(top: int, left: int, height: int, width: int) -> npt.NDArray[np.uint8]:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[top : top + height, left : left + width] = 1
    return mask


@pytest.mark.parametrize("task", ["segment", "obb"])
def test_an_outline_has_the_size_of_its_mask(task: Task) -> None:
    for height, width in ((10, 10), (4, 40)):
        line = numbers(
            yolo_files(task)(frames(), SPLITS, objects(block(20, 30, height, width)))["labels/train/a/f_1.txt"]
        )[0]
        points = np.array(line[1:]).reshape(-1, 2) * [WIDTH, HEIGHT]
        np.testing.assert_allclose(points.min(axis=0), [30, 20], atol=1e-3)
        np.testing.assert_allclose(np.ptp(points, axis=0), [width, height], atol=1e-3)


def test_turned_boxes_are_turned_in_obb() -> None:
    there = with_columns(objects(), rotation=90.0)
    line = numbers(yolo_files("obb")(frames(), SPLITS, there)["labels/train/a/f_1.txt"])[0]
    # The box from (8.25, 4.5), 60 by 50, about its centre (38.25, 29.5).
    corners = [[63.25, -0.5], [63.25, 59.5], [13.25, 59.5], [13.25, -0.5]]
    np.testing.assert_allclose(
        np.array(line[1:]).reshape(-1, 2), np.clip(np.array(corners) / [WIDTH, HEIGHT], 0, 1), atol=1e-6
    )
    upright = numbers(yolo_files("detect")(frames(), SPLITS, there)["labels/train/a/f_1.txt"])[0]
    np.testing.assert_allclose(upright[3:], [50 / WIDTH, 59.5 / HEIGHT], atol=1e-6)
    assert losses("yolo-obb", frames(), there)["simplified"] == {"cut": 1, "tracks": 1}
    assert losses("yolo", frames(), there)["simplified"] == {"turned": 1, "tracks": 1}


@settings(deadline=None)
@given(st.integers(1, 5000), st.floats(0, 1), st.floats(0.001, 1))
def test_boxes_are_inside_their_image(size: int, start: float, share: float) -> None:
    low = start * size
    each = {"label": 0, "bbox_x": low, "bbox_y": 0, "bbox_w": share * size, "bbox_h": size, "mask_rle": None}
    if not holds(each, size, size):
        return
    rows = pa.table({"file_name": ["images/train/a.jpg"], "width": [size], "height": [size], "split": ["train"]})
    there = Objects(pa.Table.from_pylist([each | {"row": 0}]), ("person",))
    _, x, y, width, height = numbers(yolo_files("detect")(rows, SPLITS, there)["labels/train/a.txt"])[0]
    assert min(x - width / 2, y - height / 2) >= 0
    assert max(x + width / 2, y + height / 2) <= 1
    assert x - width / 2 == pytest.approx(low / size, abs=1e-6)


def test_objects_too_thin_for_yolo_are_counted() -> None:
    rows = objects().rows.to_pylist()
    thin = Objects(
        pa.Table.from_pylist([{**rows[0], "bbox_x": 8.6, "bbox_w": 0.3}, *rows[1:]], objects().rows.schema), CATEGORIES
    )
    assert losses("yolo", frames(), thin) == {"objects": 2, "left_out": {"too_thin": 1}, "simplified": {"tracks": 1}}
    assert losses("voc", frames(), thin)["left_out"] == {"too_thin": 1}
    assert losses("coco", frames(), thin) == {"objects": 3, "left_out": {}, "simplified": {}}


def test_data_yaml_lists_splits_and_categories() -> None:
    def described(*splits: str) -> dict[str, Any]:
        return dict(yaml.safe_load(yolo_files("detect")(frames().slice(0, 0), splits, objects())["data.yaml"]))

    names = dict(enumerate(CATEGORIES))
    assert described(*SPLITS) == {"train": "images/train", "val": "images/val", "names": names}
    assert described("default") == {
        "train": "images/default",
        "val": "images/default",
        "default": "images/default",
        "names": names,
    }
    assert described("test", "train")["val"] == "images/test"


def test_same_rows_give_the_same_bytes_and_no_rows_are_allowed() -> None:
    for task in get_args(Task):
        assert yolo_files(task)(frames(), SPLITS, objects()) == yolo_files(task)(frames(), SPLITS, objects())
    assert yolo_files("detect")(frames(), SPLITS, Objects.none())["labels/train/a/f_1.txt"] == b""


@pytest.mark.parametrize("task", get_args(Task))
def test_ultralytics_reads_the_export(task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ultralytics", reason="the extra `ultralytics` is not installed")
    for name, value in (("YOLO_OFFLINE", "1"), ("YOLO_AUTOINSTALL", "0"), ("YOLO_CONFIG_DIR", str(tmp_path / "conf"))):
        monkeypatch.setenv(name, value)
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.data.utils import check_det_dataset

    mask = two_parts()
    written(tmp_path, yolo_files(task)(frames(), SPLITS, objects(mask)))
    described = check_det_dataset(str(tmp_path / "data.yaml"), autodownload=False)
    assert described["names"] == dict(enumerate(CATEGORIES))
    read = YOLODataset(img_path=described["train"], data=described, task=task, imgsz=64, augment=False)
    first, second = sorted(read.labels, key=lambda label: str(label["im_file"]))
    assert [label["cls"].ravel().tolist() for label in (first, second)] == [[2, 0], []]
    person = [20 / WIDTH, 10 / HEIGHT, 20 / WIDTH, 10 / HEIGHT]
    np.testing.assert_allclose(first["bboxes"][1], person, atol=1e-5)
    if task != "detect":
        assert len(first["segments"]) == 2
        xs, ys = np.nonzero(mask)[::-1]
        low, high = first["segments"][0].min(axis=0), first["segments"][0].max(axis=0)
        if task == "segment":
            np.testing.assert_allclose(low * [WIDTH, HEIGHT], [xs.min(), ys.min()], atol=1)
            np.testing.assert_allclose(high * [WIDTH, HEIGHT], [xs.max(), ys.max()], atol=1)


@pytest.mark.parametrize("there", SPLITS)
def test_a_split_that_is_not_there_is_replaced_by_another(
    there: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ultralytics", reason="the extra `ultralytics` is not installed")
    monkeypatch.setenv("YOLO_OFFLINE", "1")
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path / "conf"))
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.data.utils import check_det_dataset

    keep = [row for row, split in enumerate(frames()["split"].to_pylist()) if split == there]
    files = yolo_files("detect")(frames().take(keep), [there], Objects(Objects.none().rows, CATEGORIES))
    for name in files:
        if name.startswith("labels/"):
            picture = (tmp_path / name.replace("labels", "images", 1)).with_suffix(".jpg")
            picture.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(picture), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(files[name])
    described = check_det_dataset(str(tmp_path / "data.yaml"), autodownload=False)
    for split in SPLITS:
        read = YOLODataset(img_path=described[split], data=described, task="detect", imgsz=64, augment=False)
        assert len(read.labels) == len(keep)


def test_ultralytics_reads_frames_that_were_never_annotated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ultralytics", reason="the extra `ultralytics` is not installed")
    monkeypatch.setenv("YOLO_OFFLINE", "1")
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path / "conf"))
    from ultralytics.data.utils import check_det_dataset

    written(tmp_path, yolo_files("detect")(frames(), SPLITS, None))
    assert (tmp_path / "data.yaml").read_text().startswith("# no category is known: nothing was annotated\n")
    assert check_det_dataset(str(tmp_path / "data.yaml"), autodownload=False)["names"] == {0: "object"}


def test_supervision_reads_the_export(tmp_path: Path) -> None:
    sv = pytest.importorskip("supervision", reason="supervision is not installed")
    folder = written(tmp_path, yolo_files("detect")(frames(), SPLITS, objects()))
    places = (str(folder / "images/train/a"), str(folder / "labels/train/a"), str(folder / "data.yaml"))
    read = sv.DetectionDataset.from_yolo(*places)
    assert read.classes == list(CATEGORIES)
    found = {Path(path).name: detections for path, _, detections in read}
    assert found["f_1.jpg"].class_id.tolist() == [2, 0]
    np.testing.assert_allclose(
        found["f_1.jpg"].xyxy, np.array([[8.25, 4.5, 68.25, 54.5], [10.0, 5.0, 30.0, 15.0]]), atol=1e-3
    )
    assert len(found["f_2.jpg"]) == 0
