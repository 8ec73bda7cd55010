from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import cv2
import pytest

import schemas
from jobs.analysis.detection_eval import evaluate_view
from jobs.datasets.label_diff import label_difference
from jobs.engine.ray_engine import Engine
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.helpers import go, noise, problems, said, winnow

N = 4
WIDTH, HEIGHT = 160, 90


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Path:
    """Cameras `yard/gate` and `dock`, whose files have the same names, but for the last one of the dock."""
    root = tmp_path_factory.mktemp("recordings")
    for camera, seeds in (("yard/gate", range(N)), ("dock", range(50, 51 + N))):
        (root / "data" / camera).mkdir(parents=True)
        for number, seed in enumerate(seeds):
            cv2.imwrite(str(root / "data" / camera / f"image_{number}.png"), noise(seed))
    go(Workspace.at(root / "tables"), root / "data")
    return root


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    """A workspace of its own, over frames that are to be read only."""
    shutil.copytree(made / "tables", tmp_path / "tables")
    (tmp_path / "data").symlink_to(made / "data")
    return tmp_path


def document(*boxes: tuple[str, str, int], size: tuple[int, int] = (WIDTH, HEIGHT)) -> dict[str, Any]:
    """Return a COCO document: an image and a box of a class, 20 pixels wide, on it, for each; no box for class ''."""
    names = sorted({category for _, category, _ in boxes if category})
    images = sorted({name for name, _, _ in boxes})
    return {
        "images": [{"id": at, "file_name": n, "width": size[0], "height": size[1]} for at, n in enumerate(images, 1)],
        "categories": [{"id": at, "name": name} for at, name in enumerate(names, 1)],
        "annotations": [
            {
                "id": at,
                "image_id": images.index(name) + 1,
                "category_id": names.index(category) + 1,
                "bbox": [x, 10, 20, 30],
                "iscrowd": 0,
            }
            for at, (name, category, x) in enumerate(boxes, 1)
            if category
        ],
    }


GATE = [
    ("yard/gate/image_0.png", "car", 10),
    ("yard/gate/image_0.png", "bus", 50),
    ("yard/gate/image_1.png", "car", 20),
    ("yard/gate/image_2.png", "", 0),
]


def coco(place: Path, *boxes: tuple[str, str, int], **more: Any) -> Path:
    file = place / "labels.json"
    file.write_text(json.dumps(document(*boxes, **more)))
    return file


def brought(place: Path, path: Path, *more: object, format_: str = "coco", name: str = "city") -> dict[str, Any]:
    words = ("labels", "import", path, "-w", place / "tables", "-f", format_, "--name", name, "--json", *more)
    return dict(said(winnow(*words)))


def refused(place: Path, path: Path, *more: object, format_: str = "coco", name: str = "city") -> list[str]:
    before = version(place)
    found = problems(winnow("labels", "import", path, "-w", place / "tables", "-f", format_, "--name", name, *more))
    assert version(place) == before
    return found


def view(place: Path, **chosen: str) -> View:
    return View.of(Workspace.at(place / "tables"), **chosen)


def version(place: Path) -> int:
    # Making the empty table is no change.
    return max(0, Store(Workspace.at(place / "tables").root).open(schemas.IMPORTS).version)


def standing(place: Path) -> list[tuple[Any, ...]]:
    query = "SELECT stream_id, frame_idx, category, bbox_x, source, decision FROM objects ORDER BY ALL"
    return [tuple(row.values()) for row in view(place).sql(query).to_pylist()]


def test_ground_truth_is_what_is_on_its_frames(place: Path) -> None:
    found = brought(place, coco(place, *GATE))
    assert (found["frames"], found["objects"], found["added"]) == (3, 3, 3)
    assert found["matched"] == {"content": 0, "path": 3, "name": 0}
    assert found["new_categories"] == ["bus", "car"]
    assert standing(place) == [
        ("yard/gate", 0, "bus", 50.0, "import:city", "approve"),
        ("yard/gate", 0, "car", 10.0, "import:city", "approve"),
        ("yard/gate", 1, "car", 20.0, "import:city", "approve"),
    ]
    there = view(place)
    counts = "SELECT source, model, count(*) AS n FROM annotations GROUP BY ALL"
    assert there.sql(counts).to_pylist() == [{"source": "import:city", "model": "city", "n": 3}]
    reviewed = there.sql("SELECT frame_idx, reviewer FROM reviewed_frames ORDER BY 1").to_pylist()
    assert reviewed == [{"frame_idx": at, "reviewer": "import:city"} for at in range(3)]
    where = "objects.category = 'bus'"
    export = said(
        winnow("export", "-f", "coco", "-w", place / "tables", "-o", place / "out", "--where", where, "--json")
    )
    assert (export["frames"], export["objects"], export["reviewed"]) == ({"default": 1}, 2, 1)
    assert (export["models"][0]["source"], export["not_annotated"]) == ("import:city", 0)


def test_a_list_says_which_images_were_reviewed(place: Path) -> None:
    (place / "reviewed.txt").write_text("gate/image_0.png\n\nimage_2.png\n")
    found = brought(place, coco(place, *GATE), "--reviewed", place / "reviewed.txt")
    assert (found["role"], found["frames"], found["ground_truth"]) == ("ground-truth and suggestion", 3, 2)
    assert standing(place) == [
        ("yard/gate", 0, "bus", 50.0, "import:city", "approve"),
        ("yard/gate", 0, "car", 10.0, "import:city", "approve"),
        ("yard/gate", 1, "car", 20.0, "import:city", None),
    ]
    reviewed = view(place).sql("SELECT frame_idx FROM reviewed_frames ORDER BY 1")
    assert reviewed["frame_idx"].to_pylist() == [0, 2]
    listed = said(winnow("labels", "list", "-w", place / "tables", "--json"))
    assert [each["role"] for each in listed] == ["ground-truth and suggestion"]
    # The whole of it was reviewed meanwhile.
    assert brought(place, coco(place, *GATE))["unchanged"] == 3
    assert view(place).sql("SELECT frame_idx FROM reviewed_frames").num_rows == 3
    (place / "reviewed.txt").write_text("image_0.png\nimage_7.png\n")
    assert refused(place, coco(place, *GATE), "--reviewed", place / "reviewed.txt") == [
        f"{place / 'labels.json'}: --reviewed: image_7.png is no image of the dataset"
    ]
    both = refused(place, coco(place, *GATE), "--reviewed", place / "reviewed.txt", "--as", "suggestion")
    assert "leave out --as" in both[0]


def test_importing_again_changes_nothing_and_a_changed_file_replaces_its_own(place: Path) -> None:
    brought(place, coco(place, *GATE))
    brought(place, coco(place, ("dock/image_4.png", "boat", 5)), name="harbour")
    before, committed = standing(place), version(place)
    assert brought(place, coco(place, *GATE))["unchanged"] == 3
    assert (standing(place), version(place)) == (before, committed)
    moved = [*GATE[:2], ("yard/gate/image_1.png", "car", 25)]
    dry = brought(place, coco(place, *moved), "--dry-run")
    assert (dry["added"], dry["removed"], dry["unchanged"]) == (1, 1, 2)
    assert standing(place) == before
    brought(place, coco(place, *moved))
    assert [row[:4] for row in standing(place)] == [
        ("dock", 4, "boat", 5.0),
        ("yard/gate", 0, "bus", 50.0),
        ("yard/gate", 0, "car", 10.0),
        ("yard/gate", 1, "car", 25.0),
    ]
    listed = said(winnow("labels", "list", "-w", place / "tables", "--json"))
    assert [(each["name"], each["frames"], each["objects"]) for each in listed] == [("city", 2, 3), ("harbour", 1, 1)]
    removed = said(winnow("labels", "remove", "city", "-w", place / "tables", "--json"))
    assert removed == {"name": "city", "frames": 2, "objects": 3}
    assert [row[2] for row in standing(place)] == ["boat"]
    assert problems(winnow("labels", "remove", "city", "-w", place / "tables")) == [
        "there are no labels 'city'; there are: harbour"
    ]


def test_a_release_keeps_its_labels_and_the_difference_is_seen(place: Path) -> None:
    brought(place, coco(place, *GATE))
    assert winnow("release", "create", "v1", "-w", place / "tables").exception is None
    brought(place, coco(place, *GATE[:1], ("yard/gate/image_1.png", "bus", 20)))
    assert winnow("release", "create", "v2", "-w", place / "tables").exception is None
    differs = label_difference(view(place, release="v1"), view(place, release="v2"))
    assert differs["relabelled"] == {"car → bus": 1}
    assert differs["classes"]["bus"] | {"reviewed": 0} == {
        "before": 1,
        "after": 1,
        "added": 0,
        "removed": 1,
        "relabelled": 1,
        "moved": 0,
        "reviewed": 0,
    }


def test_what_a_person_reviewed_stays(place: Path) -> None:
    brought(place, coco(place, *GATE), "--as", "suggestion")
    assert [row[5] for row in standing(place)] == [None] * 3
    assert not view(place).lazy("reviewed_frames").collect().height
    sent = place / "sent"
    asked = ("-f", "coco", "-o", sent, "--where", "stream_id = 'yard/gate' AND frame_idx < 1", "--media", "none")
    assert winnow("review", "export", "-w", place / "tables", *asked).exception is None
    back = json.loads((sent / "annotations.json").read_text())
    back["annotations"] = [each for each in back["annotations"] if each["bbox"][0] == 10]
    (sent / "annotations.json").write_text(json.dumps(back))
    words = ("review", "import", sent / "annotations.json", "-w", place / "tables", "--reviewer", "ada", "--json")
    review = said(winnow(*words))
    assert (review["approve"], review["reject"]) == (1, 1)
    by_ada = ("yard/gate", 0, "car", 10.0, "import:city", "approve")
    assert standing(place) == [by_ada, ("yard/gate", 1, "car", 20.0, "import:city", None)]
    changed = brought(place, coco(place, ("yard/gate/image_0.png", "van", 90), *GATE[2:]))
    assert changed["reviewed_by_people"] == 1
    assert standing(place) == [by_ada, ("yard/gate", 1, "car", 20.0, "import:city", "approve")]


def test_an_evaluation_has_them_as_what_stands_and_not_as_found(place: Path) -> None:
    brought(place, coco(place, *GATE))
    scored = evaluate_view(view(place), place / "labels.json", "bbox", 0.25)
    assert (scored.n_images, scored.n_truth, scored.n_found) == (3, 3, 3)
    assert scored.scores.metrics["AP"] == pytest.approx(1)
    assert evaluate_view(view(place), place / "labels.json", "bbox", 0.25, as_found=True).n_found == 0


def test_bytes_count_more_than_names(place: Path, made: Path) -> None:
    """Images of the dock, one of them under a name of the gate, and one of no frame under another of its names."""
    folder = place / "set"
    (folder / "images").mkdir(parents=True)
    shutil.copy(made / "data/dock/image_1.png", folder / "images/image_3.png")
    shutil.copy(made / "data/dock/image_2.png", folder / "images/other.png")
    (folder / "instances.json").write_text(json.dumps(document(("image_3.png", "car", 10), ("other.png", "car", 30))))
    found = brought(place, folder)
    assert found["matched"] == {"content": 2, "path": 0, "name": 0}
    assert [row[:2] for row in standing(place)] == [("dock", 1), ("dock", 2)]
    cv2.imwrite(str(folder / "images/image_4.png"), noise(99))
    (folder / "instances.json").write_text(json.dumps(document(("image_4.png", "car", 10), ("other.png", "car", 30))))
    assert refused(place, folder)[1:] == [
        f"{folder}: image 1: image_4.png is another image than frame dock 4 of that name"
    ]
    assert brought(place, folder, "--skip-unmatched")["not_matched"] == 1


def test_a_name_that_several_cameras_have_is_asked_about(place: Path) -> None:
    file = coco(place, ("image_0.png", "car", 10), ("image_4.png", "car", 10))
    assert refused(place, file) == [
        f"{file}: image 1: image_0.png could be any of 2 frames (dock 0, yard/gate 0); name the camera with --stream"
    ]
    assert brought(place, file, "--stream", "dock")["matched"] == {"content": 0, "path": 0, "name": 2}
    assert refused(place, file, "--stream", "roof") == [
        f"{file}: --stream roof: there is no such stream; there are: dock, yard/gate",
        f"{file}: 2 of 2 images are no frames of the workspace",
        f"{file}: image 1: image_0.png is no frame of the workspace",
        f"{file}: image 2: image_4.png is no frame of the workspace",
    ]


@pytest.mark.parametrize("format_", ["coco", "datumaro", "voc", "yolo"])
@pytest.mark.parametrize("has_images", [True, False])
def test_a_stream_that_another_one_ends_as_gets_its_own_labels(
    tmp_path: Path, engine: Engine, format_: str, has_images: bool
) -> None:
    for camera, seed in (("gate", 0), ("yard/gate", 1)):
        (tmp_path / "data" / camera).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "data" / camera / "image_0.png"), noise(seed))
    go(Workspace.at(tmp_path / "bare"), tmp_path / "data")
    shutil.copytree(tmp_path / "bare", tmp_path / "tables")
    file = coco(tmp_path, ("gate/image_0.png", "car", 10), ("yard/gate/image_0.png", "bus", 50))
    brought(tmp_path, file)
    sent = standing(tmp_path)
    assert [row[:4] for row in sent] == [("gate", 0, "car", 10), ("yard/gate", 0, "bus", 50)]
    words = ("export", "--all", "-f", format_, "-o", tmp_path / "out", "-w", tmp_path / "tables")
    assert winnow(*words).exception is None
    if not has_images:
        for image in (tmp_path / "out").rglob("*.png"):
            image.unlink()
    shutil.rmtree(tmp_path / "tables")
    shutil.move(tmp_path / "bare", tmp_path / "tables")
    found = brought(tmp_path, tmp_path / "out", format_=format_)
    assert found["matched"]["content" if has_images else "path"] == 2
    assert [row[:3] for row in standing(tmp_path)] == [row[:3] for row in sent]
    assert [row[3] for row in standing(tmp_path)] == pytest.approx([row[3] for row in sent], abs=1)
    # The name alone is of both.
    file = coco(tmp_path, ("image_0.png", "car", 10))
    assert "could be any of 2 frames" in refused(tmp_path, file, name="other")[0]


def test_all_problems_are_named_at_once(place: Path) -> None:
    file = coco(place, *GATE, ("yard/gate/image_9.png", "car", 10), ("yard/gate/image_3.png", "car", 150))
    text = json.loads(file.read_text())
    text["annotations"][0]["category_id"] = 7
    text["annotations"][1]["score"] = 1.5
    file.write_text(json.dumps(text))
    assert refused(place, file) == [
        f"{file}: annotation 1 (id 1), category_id: expected that of a category of the file, found 7",
        f"{file}: 1 of 5 images are no frames of the workspace; --skip-unmatched imports the labels of the others",
        f"{file}: image 5: yard/gate/image_9.png is no frame of the workspace",
        f"{file}: image 1, annotation 2 (id 2): expected a score from 0 to 1, found 1.5",
        f"{file}: image 4, annotation 5 (id 6): the box 150, 10, 20x30 leaves the frame of {WIDTH}x{HEIGHT}",
    ]
    file = coco(place, *GATE[:1], size=(HEIGHT, WIDTH))
    assert refused(place, file) == [
        f"{file}: image 1, yard/gate/image_0.png: it is 90x160 in the file, but 160x90 in the tables"
    ]
    assert refused(place, place / "nothing", name="a/b") == [
        "--name 'a/b': expected letters, digits, spaces, and . _ + - after the first",
        f"{place / 'nothing'} is not there; expected the file or folder of a dataset",
    ]
    assert "found neither" in refused(place, place / "data", format_="yolo")[0]


def test_ground_truth_of_a_frame_has_one_source(place: Path) -> None:
    brought(place, coco(place, *GATE))
    file = coco(place, *GATE[:3])
    assert refused(place, file, name="other") == [
        (
            f"{file}: 2 frames have ground truth named 'city' already; replace it with --name 'city', remove it with "
            "`winnow labels remove city`, or import these with --as suggestion"
        )
    ]
    brought(place, file, "--as", "suggestion", name="other")
    assert {row[4] for row in standing(place)} == {"import:city"}


def test_classes_become_categories_by_the_given_map(place: Path) -> None:
    brought(place, coco(place, *GATE))
    found = brought(place, coco(place, ("dock/image_0.png", "Car", 5), ("dock/image_1.png", "lorry", 5)), name="more")
    assert found["new_categories"] == ["Car", "lorry"]
    assert found["notes"] == ["class 'Car' is new; if it is 'car', import it with --map Car=car"]
    brought(place, coco(place, ("dock/image_0.png", "Car", 5)), "--map", "Car=car", name="more")
    assert [row[2] for row in standing(place) if row[0] == "dock"] == ["car"]


FORMATS = ("coco", "yolo", "voc", "datumaro", "jsonl", "parquet", "webdataset")


@pytest.mark.parametrize("format_", [*FORMATS, "review coco", "review cvat", "review labelstudio"])
def test_what_is_exported_can_be_imported_elsewhere(place: Path, made: Path, format_: str) -> None:
    """Every format goes out with its images' names, and comes into a workspace that has the frames alone."""
    brought(place, coco(place, *GATE))
    out = place / "out"
    kind = format_.removeprefix("review ")
    if kind == format_:
        words = ["export", "-f", kind, "--where", "stream_id = 'yard/gate'"]
    else:
        words = ["review", "export", "-f", kind, "--where", "stream_id = 'yard/gate'", "--again"]
    assert winnow(*words, "-o", out, "-w", place / "tables").exception is None
    elsewhere = place / "elsewhere"
    shutil.copytree(made / "tables", elsewhere / "tables")
    archive = place / "set.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in sorted(out.rglob("*")):
            packed.write(path, path.relative_to(place))
    found = brought(elsewhere, archive, "--as", "suggestion", format_=kind)
    assert (found["frames"], found["objects"], found["matched"]["content"]) == (N, 3, N)
    assert [row[:4] for row in standing(elsewhere)] == [
        ("yard/gate", 0, "bus", 50.0),
        ("yard/gate", 0, "car", 10.0),
        ("yard/gate", 1, "car", 20.0),
    ]
    shutil.rmtree(out / "images", ignore_errors=True)
    shutil.rmtree(out / "JPEGImages", ignore_errors=True)
    if kind == "webdataset":
        return
    if kind != "voc":
        again = brought(elsewhere, out, "--as", "suggestion", "--stream", "yard/gate", format_=kind)
        # Winnow's own lists have the hash of each frame.
        assert (again["frames"], again["matched"]["content"]) == (N, N if kind in {"jsonl", "parquet"} else 0)
        assert again["unchanged"] == 3


def test_what_is_refused_or_only_tried_leaves_the_workspace_as_it_was(place: Path) -> None:
    def files() -> set[str]:
        return {path.relative_to(place / "tables").as_posix() for path in (place / "tables").rglob("*")}

    before = files()
    unknown = coco(place, ("nowhere.png", "car", 5))
    assert problems(winnow("labels", "import", "-f", "coco", unknown, "-w", place / "tables", "--name", "x"))
    assert problems(winnow("review", "import", unknown, "-w", place / "tables"))
    known = coco(place, ("yard/gate/image_0.png", "car", 5))
    assert brought(place, known, "--dry-run")["objects"] == 1
    assert files() == before
