"""Workspace to dataset, through a tool, to another workspace, and out again: 600 objects, most on images EXIF turns."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest

from jobs.engine.ray_engine import Engine
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.circle_material import HEIGHT, N_COLUMNS, N_ROWS, STREAMS, WIDTH, frames, objects
from tests.exif_material import written
from tests.helpers import go, said, winnow
from transforms.formats.exports.coco import coco_files
from transforms.formats.exports.objects import corners_of, mask_of

# Streams are folders: one that begins with a full stop is no input, and a backslash no part of a stream's name.
FOLDERS = {".hidden": "hid.den", "back\\slash": "back slash"}
N = len(STREAMS) * N_COLUMNS * N_ROWS
N_TURNED = sum(at % 8 > 0 for at in range(len(STREAMS))) * N_COLUMNS * N_ROWS

Object = dict[str, Any]
Where = tuple[str, int]
"""A stream, and the cell of its image in which an object is."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Path:
    """Frames alone in `bare`, and with all objects in `tables`; images have every orientation of EXIF in turn."""
    root = tmp_path_factory.mktemp("circles")
    names = []
    for at, stream in enumerate(STREAMS):
        path = root / "data" / FOLDERS.get(stream, stream) / f"cam_{at}.jpg"
        path.parent.mkdir(parents=True)
        spots = np.random.default_rng(at).integers(0, 200, (10, 16, 3), np.uint8)
        written(path, np.asarray(cv2.resize(spots, (WIDTH, HEIGHT)), np.uint8), 1 + at % 8)
        names.append(path.relative_to(root / "data").as_posix())
    go(Workspace.at(root / "bare"), root / "data")
    shutil.copytree(root / "bare", root / "tables")
    rows = frames()
    rows = rows.set_column(rows.schema.get_field_index("file_name"), "file_name", pa.array(names))
    (document,) = coco_files(rows, ["train"], objects()).values()
    (root / "labels.json").write_bytes(document)
    words = ("labels", "import", root / "labels.json", "-f", "coco", "--name", "all", "--exif", "displayed", "--json")
    found = said(winnow(*words, "-w", root / "tables"))
    assert (found["frames"], found["objects"]) == (len(STREAMS), N)
    return root


def standing(root: Path) -> dict[Where, Object]:
    """Return every object of a workspace by where it is: there is one in each cell of an image."""
    found: dict[Where, Object] = {}
    for each in View.of(Workspace.at(root)).sql("SELECT * FROM objects").to_pylist():
        x, y = each["bbox_x"] + each["bbox_w"] / 2, each["bbox_y"] + each["bbox_h"] / 2
        cell = int(y // (HEIGHT // N_ROWS)) * N_COLUMNS + int(x // (WIDTH // N_COLUMNS))
        assert (each["stream_id"], cell) not in found
        found[each["stream_id"], cell] = each
    return found


def exported(root: Path, form: str, out: Path, *more: object) -> Path:
    command, kind = form.split() if form.startswith("review") else ("export", form)
    words = ("review", "export", "--where", "true", "--again") if command == "review" else ("export", "--all")
    result = winnow(*words, "-f", kind, "-o", out, "-w", root, *more)
    assert result.exception is None, result.exception
    return out


def elsewhere(made: Path, folder: Path, place: Path, form: str, has_images: bool = True) -> Path:
    """Return a workspace with the frames alone, to which a folder's labels were brought."""
    shutil.copytree(made / "bare", place)
    words = ("labels", "import", folder, "-f", form.removeprefix("review "), "--name", "all", "--json")
    found = said(winnow(*words, "-w", place))
    assert (found["frames"], found["not_matched"], found["exif"]["stored"]) == (len(STREAMS), 0, 0)
    # Pixels say that labels are of images as displayed, where no size does.
    assert has_images == (found["exif"]["unsaid"] == 0)
    return place


def labels_in(folder: Path) -> dict[str, bytes]:
    """Return the files of an export but images, lists of these, and what says where it is from."""
    names = {"manifest.json", "pictures.txt"}
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.suffix != ".jpg" and p.name not in names]
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


def box(each: Object) -> list[float]:
    return [each[f"bbox_{name}"] for name in "xywh"]


def extent(each: Object) -> list[float]:
    corners = np.asarray(corners_of(each))
    low, high = corners.min(axis=0), corners.max(axis=0)
    return [*np.maximum(low, 0), *np.minimum(high, (WIDTH, HEIGHT))]


def check_same(
    sent: Mapping[Where, Object],
    back: Mapping[Where, Object],
    px: float = 0.0101,
    by_rings: Callable[[Any], bool] = lambda polygons: True,
) -> None:
    """Check that two workspaces have the same objects; tracks may have other numbers, but hold the same objects.

    `by_rings`: whether polygons that were drawn come back as such, and not as a mask of them.
    """
    assert set(back) == set(sent)
    tracks: dict[Any, set[Any]] = defaultdict(set)
    for where, one in sent.items():
        other = back[where]
        np.testing.assert_allclose(box(other), box(one), atol=px)
        for name in ("category", "mask_rle", "is_crowd", "attributes", "text"):
            assert other[name] == one[name], (where, name)
        assert (other["rotation"] or 0) == pytest.approx(one["rotation"] or 0, abs=0.01)
        if by_rings(one["polygons"]):
            assert [len(ring) for ring in other["polygons"] or ()] == [len(ring) for ring in one["polygons"] or ()]
            for ring, drawn in zip(other["polygons"] or (), one["polygons"] or (), strict=True):
                np.testing.assert_allclose(ring, drawn, atol=px)
        tracks[where[0], one["track_id"]].add(other["track_id"])
    assert all(len(each) == 1 for each in tracks.values())
    assert len({(k[0], *v) for k, v in tracks.items()}) == len(tracks)


def check_yolo(sent: Mapping[Where, Object], back: Mapping[Where, Object], px: float = 2e-3) -> None:
    assert set(back) == {where for where, each in sent.items() if not each["is_crowd"]}
    for where, other in back.items():
        assert other["category"] == sent[where]["category"]
        left, top, width, height = box(other)
        np.testing.assert_allclose([left, top, left + width, top + height], extent(sent[where]), atol=px)


def check_segments(sent: Mapping[Where, Object], back: Mapping[Where, Object], px: float = 2e-3) -> None:
    """Check polygons: masks but for holes, and for the bridges between parts."""
    assert set(back) == {where for where, each in sent.items() if not each["is_crowd"]}
    for where, other in back.items():
        one = sent[where]
        assert other["category"] == one["category"]
        if other["polygons"] is None:
            np.testing.assert_allclose(box(other), box(one), atol=px)
            continue
        if one["mask_rle"] is None:
            np.testing.assert_allclose(np.asarray(other["polygons"][0]).reshape(-1, 2), corners_of(one), atol=px)
            continue
        area, drawn = mask_of(one, WIDTH, HEIGHT), mask_of(other, WIDTH, HEIGHT)
        contours, _ = cv2.findContours(area, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        whole = np.zeros_like(area)
        cv2.drawContours(whole, contours, -1, (1,), -1)
        assert (whole & drawn).sum() == whole.sum()
        assert drawn.sum() - whole.sum() <= 40


def check_turned(sent: Mapping[Where, Object], back: Mapping[Where, Object], px: float = 2e-3) -> None:
    assert set(back) == {where for where, each in sent.items() if not each["is_crowd"]}
    for where, other in back.items():
        one = sent[where]
        assert other["category"] == one["category"]
        if one["mask_rle"] is None:
            mine, theirs = np.asarray(corners_of(other)), np.asarray(corners_of(one))
            apart = np.abs(mine[:, None] - theirs[None]).sum(axis=2).min(axis=1)
            assert apart.max() < 2 * px


def check_voc(sent: Mapping[Where, Object], back: Mapping[Where, Object]) -> None:
    """Check boxes in whole pixels, around turned ones."""
    assert set(back) == set(sent)
    for where, other in back.items():
        assert other["category"] == sent[where]["category"]
        left, top, width, height = box(other)
        np.testing.assert_allclose([left, top, left + width, top + height], extent(sent[where]), atol=1)


def check_cvat(sent: Mapping[Where, Object], back: Mapping[Where, Object]) -> None:
    """Check everything, with several polygons of an object as their mask."""
    check_same(sent, back, by_rings=lambda polygons: len(polygons or ()) == 1)


def check_regions(sent: Mapping[Where, Object], back: Mapping[Where, Object]) -> None:
    """Check regions of Label Studio, which have a shape and a label."""
    assert set(back) == set(sent)
    for where, other in back.items():
        one = sent[where]
        np.testing.assert_allclose(box(other), box(one), atol=1e-3)
        assert (other["category"], other["mask_rle"]) == (one["category"], one["mask_rle"])
        assert (other["rotation"] or 0) == pytest.approx(one["rotation"] or 0, abs=1e-3)


def submitted(folder: Path) -> None:
    """Let somebody submit every task of Label Studio as it is."""
    tasks = json.loads((folder / "tasks.json").read_text())
    for at, task in enumerate(tasks, 1):
        task["id"] = at
        task["annotations"] = [{"id": at, "result": task.pop("predictions")[0]["result"]}]
    (folder / "tasks.json").write_text(json.dumps(tasks))


CHECKS: Mapping[str, Callable[[Mapping[Where, Object], Mapping[Where, Object]], None]] = {
    "coco": check_same,
    "datumaro": check_same,
    "jsonl": check_same,
    "parquet": check_same,
    "webdataset": check_same,
    "yolo": check_yolo,
    "yolo-segment": check_segments,
    "yolo-obb": check_turned,
    "voc": check_voc,
    "review coco": check_same,
    "review cvat": check_cvat,
    "review labelstudio": check_regions,
}


def test_most_objects_are_on_images_that_exif_turns() -> None:
    assert (N, N_TURNED) == (600, 520)


@pytest.mark.slow
@pytest.mark.parametrize("form", CHECKS)
def test_a_dataset_comes_back_and_goes_out_again(made: Path, tmp_path: Path, form: str) -> None:
    sent = standing(made / "tables")
    assert len(sent) == N
    out = exported(made / "tables", form, tmp_path / "out")
    assert labels_in(exported(made / "tables", form, tmp_path / "out again")) == labels_in(out)
    if form == "review labelstudio":
        submitted(out)
    other = elsewhere(made, out, tmp_path / "other", form)
    CHECKS[form](sent, standing(other))
    # What a format can hold at all stays as it is from now on.
    again = exported(other, form, tmp_path / "again")
    if form == "review labelstudio":
        submitted(again)
    third = elsewhere(made, again, tmp_path / "third", form)
    # A turned box that ends at the edge of the image is no longer a rectangle.
    check_same(standing(other), standing(third), 1.0 if form == "yolo-obb" else 0.02, by_rings=bool)


def test_turned_boxes_that_leave_the_image_end_at_its_edge(made: Path, tmp_path: Path) -> None:
    manifest = json.loads((exported(made / "tables", "yolo-obb", tmp_path / "out") / "manifest.json").read_text())
    assert manifest["simplified"]["cut"] == 95


def back_through_supervision(form: str, sent: Path, out: Path) -> None:
    """Let supervision read and write each stream's folder, which is all that it reads at a time."""
    sv = pytest.importorskip("supervision", reason="supervision is not installed")
    images = "JPEGImages" if form == "voc" else "images/default"
    for folder in sorted({path.parent for path in (sent / images).rglob("*.jpg")}):
        stream = folder.relative_to(sent / images)
        if form == "voc":
            read = sv.DetectionDataset.from_pascal_voc(str(folder), str(sent / "Annotations" / stream))
            read.as_pascal_voc(str(out / images / stream), str(out / "Annotations" / stream))
            continue
        words = (str(folder), str(sent / "labels/default" / stream), str(sent / "data.yaml"))
        read = sv.DetectionDataset.from_yolo(*words)
        read.as_yolo(str(out / images / stream), str(out / "labels/default" / stream), str(out / "data.yaml"))


@pytest.mark.slow
@pytest.mark.parametrize("form", ["yolo", "voc"])
def test_a_dataset_survives_supervision(made: Path, tmp_path: Path, form: str) -> None:
    out = exported(made / "tables", form, tmp_path / "out")
    back_through_supervision(form, out, tmp_path / "back")
    sent, back = standing(made / "tables"), standing(elsewhere(made, tmp_path / "back", tmp_path / "other", form))
    # It writes five digits.
    check_yolo(sent, back, 5e-3) if form == "yolo" else check_voc(sent, back)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["yolo", "yolo-segment", "yolo-obb"])
def test_a_dataset_survives_ultralytics(made: Path, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ultralytics", reason="the extra `ultralytics` is not installed")
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path))
    import torch
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.data.utils import check_det_dataset
    from ultralytics.engine.results import Results
    from ultralytics.utils.ops import xyxyxyxy2xywhr

    task = {"yolo": "detect", "yolo-segment": "segment", "yolo-obb": "obb"}[form]
    out, back = exported(made / "tables", form, tmp_path / "out"), tmp_path / "back"
    data = check_det_dataset(str(out / "data.yaml"), autodownload=False)
    read = YOLODataset(img_path=str(out / "images/default"), data=data, augment=False, task=task)
    size = np.array([WIDTH, HEIGHT])
    assert len(read.labels) == len(STREAMS)
    for each in read.labels:
        assert each["shape"] == (HEIGHT, WIDTH)
        classes = torch.tensor(each["cls"])
        sure = torch.ones_like(classes)
        picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        label = back / Path(each["im_file"]).relative_to(out).with_suffix(".txt")
        label = back / "labels" / label.relative_to(back / "images")
        label.parent.mkdir(parents=True, exist_ok=True)
        if task == "segment":
            lines = zip(each["cls"][:, 0].astype(int), each["segments"], strict=True)
            label.write_text("".join(f"{c} {' '.join(map(str, ring.reshape(-1)))}\n" for c, ring in lines))
            continue
        if task == "detect":
            centre, across = each["bboxes"][:, :2] * size, each["bboxes"][:, 2:] * size
            corners = torch.tensor(np.concatenate([centre - across / 2, centre + across / 2], axis=1))
            found = {"boxes": torch.cat([corners, sure, classes], dim=1)}
        else:
            rings = torch.tensor(np.stack(each["segments"])[:, :4] * size, dtype=torch.float32)
            found = {"obb": torch.cat([xyxyxyxy2xywhr(rings.reshape(-1, 8)), sure, classes], dim=1)}
        Results(picture, each["im_file"], data["names"], **found).save_txt(label)
    shutil.copytree(out / "images", back / "images")
    shutil.copy(out / "data.yaml", back / "data.yaml")
    sent = standing(made / "tables")
    there = standing(elsewhere(made, back, tmp_path / "other", form))
    if task == "obb":
        return check_turned(sent, there, 0.02)
    return check_yolo(sent, there, 5e-3) if task == "detect" else check_segments(sent, there, 5e-3)


# Reads a dataset and writes it again, with its images.
DATUMARO = """
import sys
from datumaro import Dataset
source, read, write, out = sys.argv[1:]
dataset = Dataset.import_from(source, read)
more = {"segmentation_mode": "mask", "reindex": True} if write == "coco_instances" else {}
dataset.export(out, write, save_media=True, **more)
"""


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize(
    ("form", "read", "write"),
    [
        ("coco", "coco", "coco_instances"),
        ("datumaro", "datumaro", "datumaro"),
        ("voc", "voc", "voc_detection"),
        ("review cvat", "cvat", "cvat"),
        ("review coco", "coco", "coco_instances"),
    ],
)
def test_a_dataset_survives_datumaro(
    made: Path, tmp_path: Path, datumaro: Path, form: str, read: str, write: str
) -> None:
    out, back = exported(made / "tables", form, tmp_path / "out"), tmp_path / "back"
    if form == "review coco":
        (out / "annotations").mkdir()
        (out / "annotations.json").rename(out / "annotations/instances_default.json")
    subprocess.run([datumaro, "-W", "ignore", "-c", DATUMARO, out, read, write, back], check=True)
    # Below folders of streams, Datumaro finds images of its own format and of CVAT alone.
    has_images = form in {"datumaro", "review cvat"}
    sent, there = standing(made / "tables"), standing(elsewhere(made, back, tmp_path / "other", form, has_images))
    if write == "coco_instances":
        # Datumaro makes masks of polygons by rules of its own.
        drawn = {where for where, each in sent.items() if each["polygons"]}
        assert len(drawn) == 120
        for where in drawn:
            areas = [mask_of(each[where], WIDTH, HEIGHT) for each in (sent, there)]
            assert (areas[0] != areas[1]).sum() < 100
        sent, there = ({k: v for k, v in each.items() if k not in drawn} for each in (sent, there))
    CHECKS[form](sent, there)
