from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs.engine.ray_engine import Engine
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.exif_material import DISPLAYED, HEIGHT, ORIENTATIONS, WIDTH, scene, stored, written
from tests.helpers import go, problems, said, winnow

ON_ITS_SIDE = [at for at in ORIENTATIONS if at >= 5]
BARE = 6
"""The orientation of an image without an object."""

Image = dict[str, Any]
Edit = Callable[[int, Image, list[dict[str, Any]]], None]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Path:
    """A stream with an image of each orientation, whose rectangle is a suggestion on all but one."""
    root = tmp_path_factory.mktemp("reviewed")
    (root / "data/cam").mkdir(parents=True)
    images, annotations = [], []
    for at in ORIENTATIONS:
        written(root / f"data/cam/cam_{at}.jpg", scene(at), at)
        images.append({"id": at, "file_name": f"cam/cam_{at}.jpg", "width": WIDTH, "height": HEIGHT})
        if at != BARE:
            annotations.append({"id": at, "image_id": at, "category_id": 1, "bbox": list(DISPLAYED), "iscrowd": 0})
    workspace = Workspace.at(root / "tables")
    go(workspace, root / "data")
    labels = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "sign"}]}
    (root / "labels.json").write_text(json.dumps(labels))
    words = ("labels", "import", root / "labels.json", "-f", "coco", "--name", "s", "--as", "suggestion")
    assert winnow(*words, "-w", root / "tables").exception is None
    return root


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made / "tables", tmp_path / "tables")
    return tmp_path


def returned(place: Path, edit: Edit, *more: object) -> Any:
    """Send everything out as COCO, let a tool edit each image and its annotations, and import the file."""
    out = place / "out"
    words = ("review", "export", "-w", place / "tables", "-f", "coco", "-o", out, "--where", "true", "--media", "none")
    assert winnow(*words).exception is None
    document = json.loads((out / "annotations.json").read_text())
    for image in document["images"]:
        number = int(image["file_name"].rpartition("/")[2][:8])
        edit(number, image, [each for each in document["annotations"] if each["image_id"] == image["id"]])
    (out / "annotations.json").write_text(json.dumps(document))
    return winnow(
        *("review", "import", out / "annotations.json", "-w", place / "tables"),
        *("--reviewer", "ada", "--reviewed", "all", "--json", *more),
    )


def exchange(number: int, image: Image) -> None:
    if number >= 5:
        image["width"], image["height"] = image["height"], image["width"]


def as_stored(number: int, image: Image, annotations: list[dict[str, Any]]) -> None:
    exchange(number, image)
    for each in annotations:
        # A person draws it once more, a pixel to the right.
        left, top, width, height = stored(DISPLAYED, number, WIDTH, HEIGHT)
        each["bbox"] = [left + 1, top, width, height]
        each.pop("segmentation", None)


def boxes(place: Path) -> dict[int, list[float]]:
    query = "SELECT frame_idx, bbox_x, bbox_y, bbox_w, bbox_h FROM objects ORDER BY 1"
    rows = View.of(Workspace.at(place / "tables")).sql(query).to_pylist()
    return {row.pop("frame_idx"): list(row.values()) for row in rows}


def test_exchanged_sizes_alone_change_nothing(place: Path) -> None:
    found = said(returned(place, lambda number, image, _: exchange(number, image)))
    assert (found["approve"], found["correct"], found["reject"], found["add"]) == (7, 0, 0, 0)
    assert found["notes"] == [
        f"{len(ON_ITS_SIDE)} images came back with width and height exchanged, and with objects where they were sent"
    ]
    assert boxes(place) == {at: list(map(float, DISPLAYED)) for at in ORIENTATIONS if at != BARE}


def test_objects_on_stored_pixels_are_turned(place: Path) -> None:
    found = said(returned(place, as_stored))
    assert (found["approve"], found["correct"], found["reject"], found["add"]) == (0, 7, 0, 0)
    # Also where EXIF leaves width and height as they are; the image as stored needs no turn.
    assert found["notes"] == ["7 images came back with objects on their pixels as stored, which are turned"]
    for at, box in boxes(place).items():
        left, top, width, height = DISPLAYED
        assert box[2:] == [width, height]
        assert abs(box[0] - left) + abs(box[1] - top) == 1, at


def test_an_image_that_says_nothing_is_as_the_others_or_the_option_says_it(place: Path) -> None:
    def mixed(number: int, image: Image, annotations: list[dict[str, Any]]) -> None:
        if number == 5:
            as_stored(number, image, annotations)
        else:
            exchange(number, image)

    refused = returned(place, mixed)
    assert "EXIF turns" in problems(refused)[0]
    assert f"{BARE:08d}" in problems(refused)[0]
    assert "--exif displayed or --exif stored" in problems(refused)[0]
    shutil.rmtree(place / "out")
    assert said(returned(place, as_stored, "--exif", "stored"))["correct"] == 7


def test_a_size_that_is_neither_is_refused(place: Path) -> None:
    def other(number: int, image: Image, _: list[dict[str, Any]]) -> None:
        image["width"] += number == 6

    (problem,) = problems(returned(place, other))
    assert "it is 97x64 in the file, but 96x64 in the tables" in problem
