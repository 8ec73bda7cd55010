"""Labels of images that EXIF turns: out through every format and its readers, and in, on either kind of pixels."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from jobs.engine.ray_engine import Engine
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.exif_material import DISPLAYED, HEIGHT, KINDS, ORIENTATIONS, SQUARE, WIDTH, scene, stored, written
from tests.helpers import go, problems, said, winnow
from transforms.frames.image import read_header


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Path:
    """Streams `jpg` and `webp` with an image of each orientation, and `square`, whose sizes say nothing."""
    root = tmp_path_factory.mktemp("turned")
    for kind in (*KINDS, "square"):
        (root / "data" / kind).mkdir(parents=True)
        for orientation in ORIENTATIONS:
            path = root / "data" / kind / f"{kind}_{orientation}.{'jpg' if kind == 'square' else kind}"
            size = (SQUARE, SQUARE) if kind == "square" else (WIDTH, HEIGHT)
            written(path, scene(orientation + 10 * len(kind), *size), orientation)
    go(Workspace.at(root / "tables"), root / "data")
    return root


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made / "tables", tmp_path / "tables")
    (tmp_path / "data").symlink_to(made / "data")
    return tmp_path


def document(kind: str, pixels: str) -> dict[str, Any]:
    """Return COCO labels of the rectangle on the images of a stream, as displayed or as stored."""
    displayed = (SQUARE, SQUARE) if kind == "square" else (WIDTH, HEIGHT)
    suffix = "jpg" if kind == "square" else kind
    images, annotations = [], []
    for at in ORIENTATIONS:
        box, size = list(DISPLAYED), displayed
        if pixels == "stored":
            box, size = stored(DISPLAYED, at, *displayed), displayed[::-1] if at >= 5 else displayed
        images.append({"id": at, "file_name": f"{kind}/{kind}_{at}.{suffix}", "width": size[0], "height": size[1]})
        annotations.append({"id": at, "image_id": at, "category_id": 1, "bbox": box, "iscrowd": 0})
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "sign"}]}


def brought(place: Path, path: Path, *more: object, format_: str = "coco") -> dict[str, Any]:
    words = ("labels", "import", path, "-w", place / "tables", "-f", format_, "--name", "signs", "--json", *more)
    return dict(said(winnow(*words)))


def labelled(place: Path, kind: str = "jpg", pixels: str = "displayed", *more: object) -> dict[str, Any]:
    (place / "labels.json").write_text(json.dumps(document(kind, pixels)))
    return brought(place, place / "labels.json", *more)


def boxes(place: Path, stream: str = "jpg") -> list[list[float]]:
    query = f"SELECT bbox_x, bbox_y, bbox_w, bbox_h FROM objects WHERE stream_id = '{stream}' ORDER BY frame_idx"
    return [list(row.values()) for row in View.of(Workspace.at(place / "tables")).sql(query).to_pylist()]


def check_boxes(place: Path, stream: str = "jpg", exactly: float = 0.01) -> None:
    found = boxes(place, stream)
    assert len(found) == len(ORIENTATIONS)
    np.testing.assert_allclose(found, [DISPLAYED] * len(ORIENTATIONS), atol=exactly)


@pytest.mark.parametrize("kind", KINDS)
def test_labels_of_stored_pixels_are_turned_and_those_of_displayed_ones_are_taken(place: Path, kind: str) -> None:
    found = labelled(place, kind, "displayed")
    assert found["exif"] == {"displayed": 7, "stored": 0, "unsaid": 3}
    check_boxes(place, kind)
    assert found["notes"] == [
        (
            "3 images are turned by EXIF, and no size says whether their labels are of them as displayed or as stored: "
            "taken as displayed; --exif stored takes them the other way"
        )
    ]
    # Four of them, on their side, say what the other three are.
    found = labelled(place, kind, "stored")
    assert found["exif"] == {"displayed": 0, "stored": 7, "unsaid": 3}
    assert found["unchanged"] == 8
    check_boxes(place, kind)
    assert [note[:52] for note in found["notes"]] == [
        "7 images have labels on their pixels as stored, whic",
        "3 images are turned by EXIF, and no size says whethe",
    ]


def test_an_option_decides_where_sizes_do_not(place: Path) -> None:
    found = labelled(place, "square", "displayed")
    assert (found["exif"], len(found["notes"])) == ({"displayed": 7, "stored": 0, "unsaid": 7}, 1)
    check_boxes(place, "square")
    found = labelled(place, "square", "stored", "--exif", "stored")
    assert (found["exif"]["stored"], found["unchanged"], len(found["notes"])) == (7, 8, 1)
    check_boxes(place, "square")
    assert labelled(place, "square", "displayed", "--exif", "displayed")["notes"] == []
    # Sizes were taken from stored pixels, boxes drawn on displayed ones.
    mixed = document("jpg", "stored")
    for each in mixed["annotations"]:
        each["bbox"] = list(DISPLAYED)
    (place / "labels.json").write_text(json.dumps(mixed))
    brought(place, place / "labels.json", "--exif", "displayed")
    check_boxes(place)


def test_images_that_contradict_one_another_are_asked_about(place: Path) -> None:
    both, other = document("jpg", "displayed"), document("jpg", "stored")
    both["images"][5], both["annotations"][5] = other["images"][5], other["annotations"][5]
    (place / "labels.json").write_text(json.dumps(both))
    words = ("labels", "import", place / "labels.json", "-w", place / "tables", "-f", "coco", "--name", "signs")
    assert problems(winnow(*words)) == [
        (
            f"{place / 'labels.json'}: 3 images are turned by EXIF, such as jpg/jpg_2.jpg, and labels of others are of "
            "images as displayed and as stored both; say which with --exif displayed or --exif stored"
        )
    ]
    both["images"], both["annotations"] = both["images"][4:], both["annotations"][4:]
    (place / "labels.json").write_text(json.dumps(both))
    assert brought(place, place / "labels.json")["exif"] == {"displayed": 3, "stored": 1, "unsaid": 0}
    np.testing.assert_allclose(boxes(place), [DISPLAYED] * 4, atol=0.01)


def test_polygons_masks_and_turned_boxes_are_turned_too(place: Path) -> None:
    labels = document("jpg", "stored")
    for at, each in zip(ORIENTATIONS, labels["annotations"], strict=True):
        left, top, width, height = each["bbox"]
        if at % 2:
            corners = [[left, top], [left + width, top], [left + width, top + height], [left, top + height - 0.3]]
            each["segmentation"] = [[value for corner in corners for value in corner]]
        else:
            image = labels["images"][at - 1]
            mask = np.zeros((image["height"], image["width"]), np.uint8)
            mask[top : top + height, left : left + width] = 1
            runs = np.diff(np.flatnonzero(np.diff(np.concatenate([[1 - 2], mask.T.reshape(-1), [2]]))))
            counts = [int(v) for v in (runs if not mask.T.reshape(-1)[0] else [0, *runs])]
            each["segmentation"] = {"size": [image["height"], image["width"]], "counts": counts}
    (place / "labels.json").write_text(json.dumps(labels))
    brought(place, place / "labels.json")
    check_boxes(place)


def test_yolo_labels_are_of_the_pixels_that_the_option_names(place: Path) -> None:
    """Labels without an image have no size at all."""
    for pixels in ("displayed", "stored"):
        folder = place / pixels
        (folder / "labels/jpg").mkdir(parents=True)
        (folder / "classes.txt").write_text("sign\n")
        for image, each in zip(*[document("jpg", pixels)[name] for name in ("images", "annotations")], strict=True):
            left, top, width, height = each["bbox"]
            across, down = image["width"], image["height"]
            values = (left + width / 2) / across, (top + height / 2) / down, width / across, height / down
            line = " ".join(f"{value:.8f}" for value in values)
            (folder / "labels" / image["file_name"]).with_suffix(".txt").write_text(f"0 {line}\n")
    found = brought(place, place / "displayed", format_="yolo")
    assert (found["exif"], found["matched"]["path"]) == ({"displayed": 7, "stored": 0, "unsaid": 7}, 8)
    check_boxes(place)
    brought(place, place / "stored", "--exif", "stored", format_="yolo")
    check_boxes(place)


def test_images_that_lost_their_exif_are_what_their_labels_are_of(place: Path, made: Path) -> None:
    """A tool has stripped the EXIF: of some it has kept the pixels, others it has turned."""
    for pixels in ("displayed", "stored"):
        folder = place / pixels / "square"
        folder.mkdir(parents=True)
        for at in ORIENTATIONS:
            path = made / f"data/square/square_{at}.jpg"
            flag = cv2.IMREAD_COLOR | (cv2.IMREAD_IGNORE_ORIENTATION if pixels == "stored" else 0)
            cv2.imwrite(str(folder / path.name), cv2.imread(str(path), flag))
        (place / pixels / "labels.json").write_text(json.dumps(document("square", pixels)))
        # The first one has no orientation, and its bytes are others.
        found = brought(place, place / pixels, "--skip-unmatched")
        assert (found["not_matched"], found["matched"]["path"]) == (1, 7)
        assert found["exif"] == {"displayed": 0, "stored": 0, "unsaid": 0, pixels: 7}
        np.testing.assert_allclose(boxes(place, "square"), [DISPLAYED] * 7, atol=0.01)


def exported(place: Path, kind: str, out: Path, *more: object, streams: tuple[str, ...] = KINDS) -> Path:
    """Export the frames of the streams `jpg` and `webp`, or of one, of which each has a box and a polygon."""
    labels = [document(stream, "displayed") for stream in KINDS]
    whole = labels[0]
    for image, each in zip(labels[1]["images"], labels[1]["annotations"], strict=True):
        whole["images"].append({**image, "id": image["id"] + 100})
        whole["annotations"].append({**each, "id": each["id"] + 100, "image_id": each["image_id"] + 100})
    ring = [60, 30, 90, 32, 80, 55]
    for each in list(whole["annotations"]):
        drawn = {"category_id": 2, "segmentation": [ring], "bbox": [60, 30, 30, 25]}
        whole["annotations"].append({**each, "id": each["id"] + 1000, **drawn})
    whole["categories"].append({"id": 2, "name": "flag"})
    (place / "labels.json").write_text(json.dumps(whole))
    brought(place, place / "labels.json", "--exif", "displayed")
    command, form = kind.split() if kind.startswith("review") else ("export", kind)
    where = ("--where", " OR ".join(f"stream_id = '{stream}'" for stream in streams))
    words = [command, "export"] if command == "review" else ["export", "--json"]
    chosen = ["--again"] if command == "review" else ["--all", *more]
    result = winnow(*words, "-f", form, "-o", out, "-w", place / "tables", *where, *chosen)
    assert result.exception is None, result.exception
    return out


def images_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix in {".jpg", ".webp"})


def check_pixels(folder: Path) -> None:
    """Check that all readers see the rectangle where its box is."""
    paths = images_in(folder)
    assert len(paths) == 16
    left, top, across, down = DISPLAYED
    for path in paths:
        assert read_header(path.read_bytes()).orientation == 1
        for flag in (cv2.IMREAD_COLOR, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION):
            picture = np.asarray(cv2.imread(str(path), flag), np.uint8)
            assert picture.shape == (HEIGHT, WIDTH, 3)
            inside = picture[top + 1 : top + down - 1, left + 1 : left + across - 1]
            assert inside.min() > 200
            bright = picture.min(axis=2) > 200
            assert abs(int(bright.sum()) - across * down) < 60


def check_import(place: Path, made: Path, out: Path, kind: str, n: int = 16) -> dict[str, Any]:
    """Check that a workspace with the frames alone gets the same labels from a folder."""
    elsewhere = place / f"elsewhere {kind}"
    shutil.copytree(made / "tables", elsewhere / "tables")
    found = brought(elsewhere, out, "--as", "suggestion", format_=kind)
    assert (found["frames"], found["not_matched"], found["exif"]["stored"]) == (n, 0, 0)
    query = "SELECT category, bbox_x, bbox_y, bbox_w, bbox_h FROM objects ORDER BY stream_id, frame_idx, category"
    there = View.of(Workspace.at(elsewhere / "tables")).sql(query).to_pylist()
    assert [row["category"] for row in there] == ["flag", "sign"] * n
    values = np.array([list(row.values())[1:] for row in there]).reshape(n, 2, 4)
    np.testing.assert_allclose(values[:, 1], [DISPLAYED] * n, atol=0.01)
    if kind != "yolo-obb":
        np.testing.assert_allclose(values[:, 0], [(60, 30, 30, 25)] * n, atol=1)
    return found


ALL = (
    "coco",
    "yolo",
    "yolo-segment",
    "yolo-obb",
    "voc",
    "datumaro",
    "review coco",
    "review cvat",
    "review labelstudio",
)


@pytest.mark.parametrize("kind", ALL)
def test_every_reader_sees_what_the_boxes_are_of_and_they_come_back(place: Path, made: Path, kind: str) -> None:
    out = exported(place, kind, place / "out")
    check_pixels(out)
    again = exported(place, kind, place / "again")
    assert [path.read_bytes() for path in images_in(out)] == [path.read_bytes() for path in images_in(again)]
    if not kind.startswith("review"):
        manifest = json.loads((out / "manifest.json").read_text())
        assert manifest["exif"] == {"turned": 14, "pixels": "as displayed"}
    found = check_import(place, made, out, kind.removeprefix("review "))
    # Pixels say that labels are of images as displayed, where no size does.
    assert (found["exif"]["unsaid"], found["notes"]) == (0, [])


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "webdataset"])
def test_own_lists_come_back_by_the_hash_of_each_frame(place: Path, made: Path, kind: str) -> None:
    found = check_import(place, made, exported(place, kind, place / "out"), kind)
    assert (found["matched"]["content"], found["notes"]) == (16, [])


def test_links_are_as_stored_which_is_printed(place: Path) -> None:
    out = exported(place, "coco", place / "out", "--media", "link")
    assert json.loads((out / "manifest.json").read_text())["exif"] == {"turned": 14, "pixels": "as stored"}
    linked = winnow("export", "-f", "coco", "-o", place / "more", "-w", place / "tables", "--all", "--media", "link")
    assert "21 linked images are turned by EXIF" in " ".join(linked.output.split())
    assert json.loads((exported(place, "jsonl", place / "list") / "manifest.json").read_text())["exif"]["turned"] == 0


def test_ultralytics_and_supervision_see_the_rectangle_in_its_box(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ultralytics", reason="the extra `ultralytics` is not installed")
    sv = pytest.importorskip("supervision", reason="supervision is not installed")
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(place))
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.data.utils import check_det_dataset

    out = exported(place, "yolo", place / "yolo")
    data = check_det_dataset(str(out / "data.yaml"), autodownload=False)
    read = YOLODataset(img_path=str(out / "images/default"), data=data, augment=False)
    assert len(read.labels) == 16
    for each in read.labels:
        assert each["shape"] == (HEIGHT, WIDTH)
        box = each["bboxes"][[int(c) for c in each["cls"][:, 0]].index(0)] * [WIDTH, HEIGHT, WIDTH, HEIGHT]
        np.testing.assert_allclose([*(box[:2] - box[2:] / 2), *box[2:]], DISPLAYED, atol=0.01)
    coco = exported(place, "coco", place / "coco")
    there = sv.DetectionDataset.from_coco(str(coco), str(coco / "annotations/instances_default.json"))
    n = 0
    for _, picture, found in there:
        left, top, right, bottom = found.xyxy[list(found.class_id).index(there.classes.index("sign"))].astype(int)
        assert picture[top + 1 : bottom - 1, left + 1 : right - 1].min() > 200
        n += 1
    assert n == 16


# Reads a dataset, prints how bright every image is in its box `sign` at the darkest, and writes it again.
DATUMARO = """
import sys
from datumaro import AnnotationType, Dataset
source, read, write, out = sys.argv[1:]
dataset = Dataset.import_from(source, read)
labels = [label.name for label in dataset.categories()[AnnotationType.label]]
for item in dataset:
    for each in item.annotations:
        if each.type == AnnotationType.bbox and labels[each.label] == "sign":
            left, top, width, height = (int(v) for v in each.get_bbox())
            print("inside", item.media.data[top + 1 : top + height - 1, left + 1 : left + width - 1].min())
# The writers of YOLO know the subsets of training alone, one of them only both together.
if write == "yolo":
    dataset.transform("map_subsets", mapping={"default": "train"})
if write == "yolo_ultralytics":
    dataset.transform("random_split", splits=[("train", 0.5), ("val", 0.5)], seed=1)
dataset.export(out, write, save_media=True)
"""


@pytest.mark.process
@pytest.mark.parametrize(
    ("kind", "read", "write", "streams"),
    [
        ("voc", "voc", "voc_detection", ("webp",)),
        ("datumaro", "datumaro", "datumaro", KINDS),
        ("yolo", "yolo", "yolo_ultralytics", ("jpg",)),
        ("yolo", "yolo", "yolo", ("webp",)),
        ("review cvat", "cvat", "cvat", KINDS),
    ],
)
def test_turned_images_survive_a_round_trip_through_datumaro(
    place: Path, made: Path, datumaro: Path, kind: str, read: str, write: str, streams: tuple[str, ...]
) -> None:
    sent, back = exported(place, kind, place / "sent", streams=streams), place / "back"
    words = [str(datumaro), "-W", "ignore", "-c", DATUMARO, str(sent), read, write, str(back)]
    out = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout
    inside = [int(line.split()[1]) for line in out.splitlines() if line.startswith("inside")]
    assert len(inside) == 8 * len(streams)
    assert min(inside) > 200
    found = check_import(place, made, back, kind.removeprefix("review "), 8 * len(streams))
    assert found["exif"]["unsaid"] == 0
