from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import cv2
import polars as pl
import pytest

import schemas
from jobs.analysis.detection_eval import evaluate_view
from jobs.core.errors import UserError
from jobs.datasets.export import ExportRequest, export
from jobs.engine.ray_engine import Engine
from jobs.storage import paths
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.helpers import go, problems, rows, said, winnow
from tests.jobs.review.material import EMPTY, N, annotated, box, picture, settings

pytest.importorskip("onnxruntime", reason="the extra `annotate` is not installed")

pytestmark = pytest.mark.usefixtures("models_at_hand")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Path:
    return Path(str(annotated(tmp_path_factory.mktemp("incoming")).root))


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    """A workspace of its own, over frames that are to be read only."""
    shutil.copytree(made, tmp_path / "tables")
    return tmp_path


@pytest.fixture
def own(tmp_path: Path, engine: Engine) -> Path:
    """A workspace with frames of its own."""
    annotated(tmp_path)
    return tmp_path


def sent(place: Path, format_: str, where: str = "true") -> Path:
    out = place / f"{format_}-{len(list(place.iterdir()))}"
    asked = ("-f", format_, "-o", out, "--where", where, "--media", "none", "--again")
    assert winnow("review", "export", "-w", place / "tables", *asked).exception is None
    return out


def brought(place: Path, file: Path, *more: object) -> dict[str, Any]:
    return dict(said(winnow("review", "import", file, "-w", place / "tables", "--json", *more)))


def decisions(place: Path) -> list[tuple[int, str]]:
    found = rows(Workspace.at(place / "tables"), schemas.REVIEWS).filter(pl.col("decision") != "seen")
    return sorted(found.select("frame_idx", "decision").rows())


def standing(place: Path) -> list[tuple[Any, ...]]:
    query = "SELECT frame_idx, category, bbox_x, decision, reviewer FROM objects ORDER BY ALL"
    return [tuple(row.values()) for row in View.of(Workspace.at(place / "tables")).sql(query).to_pylist()]


def as_annotated(tasks: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return tasks as Label Studio has them when somebody has submitted every prediction as it was."""
    return [
        {
            "id": at,
            "data": task["data"],
            "annotations": [
                {
                    "id": 100 + at,
                    "completed_by": {"id": 1, "email": "ada@example.org"},
                    "result": [{k: v for k, v in r.items() if k != "score"} for r in task["predictions"][0]["result"]],
                    "was_cancelled": False,
                    "created_at": "2026-11-02T09:00:00Z",
                    "updated_at": "2026-11-02T09:30:00Z",
                }
            ],
            "predictions": [],
        }
        for at, task in enumerate(tasks, 1)
    ]


def test_decisions_are_stored_separately_from_detections(place: Path) -> None:
    raw = rows(Workspace.at(place / "tables"), schemas.ANNOTATIONS)
    tasks = as_annotated(json.loads((sent(place, "labelstudio", "frame_idx < 5") / "tasks.json").read_text()))
    results = [task["annotations"][0]["result"] for task in tasks]
    results[0][0]["value"]["x"] += 100 * 3 / 256
    results[1].clear()
    drawn = {**results[2][0], "id": "Dx_aB91ISN", "value": {**results[2][0]["value"], "x": 50.0}}
    drawn["value"]["rectanglelabels"] = ["cat"]
    results[EMPTY].append({**drawn, "value": {**drawn["value"], "rectanglelabels": ["red"]}})
    results[2].append(drawn)
    tasks[4]["annotations"][0]["was_cancelled"] = True
    file = place / "project-3-at-2026.json"
    file.write_text(json.dumps(tasks))
    counted = brought(place, file)
    counts = {name: counted[name] for name in ("frames", "approve", "correct", "reject", "add", "unchanged")}
    assert counts == {"frames": 4, "approve": 1, "correct": 1, "reject": 1, "add": 2, "unchanged": 0}
    assert decisions(place) == [(0, "correct"), (1, "reject"), (2, "add"), (2, "approve"), (EMPTY, "add")]
    who = "ada@example.org"
    expected = [
        (0, "red", 3.0, "correct", who),
        (2, "cat", 128.0, "add", who),
        (2, "red", 16.0, "approve", who),
        (3, "red", 128.0, "add", who),
        *((n, "red", float(8 * n), None, None) for n in (4, 5)),
    ]
    assert standing(place) == expected
    assert rows(Workspace.at(place / "tables"), schemas.ANNOTATIONS).equals(raw)
    # Once more changes nothing; something older does not either.
    version = Store(paths.place(place / "tables")).open(schemas.REVIEWS).version
    again = brought(place, file)
    assert (again["unchanged"], again["add"]) == (4, 0)
    file.write_text(json.dumps(tasks).replace("2026-11-02", "2026-11-01").replace('"red"', '"cat"'))
    older = brought(place, file)
    assert (older["older"], older["unchanged"]) == (3, 1)
    assert Store(paths.place(place / "tables")).open(schemas.REVIEWS).version == version
    file.write_text(json.dumps(as_annotated(json.loads((sent(place, "labelstudio") / "tasks.json").read_text()))))
    brought(place, file, "--reviewer", "bo")
    # Who approves what another has drawn or corrected is not its author.
    assert standing(place)[:4] == [(*row[:3], "approve", "bo") for row in expected[:4]]
    approved = rows(Workspace.at(place / "tables"), schemas.REVIEWS).filter(decision="approve")
    assert approved.sort("frame_idx", "bbox_x")["author"].to_list() == [who, None, who, who, None, None]


@pytest.mark.parametrize("format_", ["cvat", "coco"])
def test_a_round_trip_approves_everything(place: Path, format_: str) -> None:
    before = [row[:3] for row in standing(place)]
    out = sent(place, format_)
    file = next(p for p in out.iterdir() if p.stem == "annotations")
    (unsigned,) = problems(winnow("review", "import", file, "-w", place / "tables"))
    assert f"{N} frames, the first of them " in unsigned
    assert unsigned.endswith("the file does not say who reviewed them; name the person with --reviewer")
    # Nobody has said that it was reviewed.
    asked = ("review", "import", file, "-w", place / "tables", "--reviewer", "bo")
    (question,) = problems(winnow(*asked))
    assert f"nothing in it differs: {N} frames came back as they were exported, with {N - 1} objects" in question
    assert decisions(place) == []
    changed = brought(place, file, "--reviewer", "bo", "--reviewed", "changed")
    assert (changed["frames"], changed["not_reviewed"]) == (0, N)
    dry = brought(place, file, "--reviewer", "bo", "--reviewed", "all", "--dry-run")
    assert (dry["approve"], decisions(place)) == (N - 1, [])
    assert brought(place, file, "--reviewer", "bo", "--reviewed", "all")["approve"] == N - 1
    assert standing(place) == [(*row, "approve", "bo") for row in before]
    assert brought(place, file, "--reviewer", "bo")["unchanged"] == N
    # The frame on which nothing is has been seen as well.
    assert rows(Workspace.at(place / "tables"), schemas.REVIEWS).filter(decision="seen").height == N


def test_all_conflicts_are_reported_at_once_and_nothing_is_imported(own: Path) -> None:
    place = own
    out = sent(place, "cvat")
    tree = ET.parse(out / "annotations.xml")
    images = tree.getroot().findall("image")
    by_number = dict(enumerate(images))
    shape = by_number[0].find("box")
    assert shape is not None
    shape.set("label", "zebra")
    by_number[1].set("name", "yard/gate/00000077-0123456789abcdef.png")
    attribute = by_number[2].find("box/attribute")
    assert attribute is not None
    attribute.text = "e" * 32
    by_number[4].set("name", str(by_number[5].get("name")))
    tree.write(place / "annotations.xml")
    data = place / "data/yard/gate"
    cv2.imwrite(str(data / "image_3.png"), picture(0))
    go(Workspace.at(place / "tables"), place / "data", settings=settings(place))
    asked = ("review", "import", place / "annotations.xml", "-w", place / "tables", "--reviewer", "ada")
    found = problems(winnow(*asked))
    for problem, hint in zip(
        sorted(found, key=lambda p: p.split("image ")[1]),
        (
            "'zebra' (1 object, the first at image 0, box 1 (id ",
            "no frame of the workspace",
            "no such object",
            "another image",
            "file twice",
        ),
        strict=True,
    ):
        assert hint in problem
    assert decisions(place) == []
    assert len(problems(winnow(*asked, "--category", "zebra"))) == 4
    for text, hint in ((b"hello", "expected JSON"), (b"[1]", "task 1"), (b"{}", "images"), (b"<a", "expected XML")):
        (place / "x").write_bytes(text)
        assert hint in problems(winnow("review", "import", place / "x", "-w", place / "tables"))[0]


@pytest.mark.parametrize("format_", ["cvat", "coco", "labelstudio"])
def test_unreadable_shapes_do_not_hide_other_problems(place: Path, format_: str) -> None:
    file = next(p for p in sent(place, format_).iterdir() if p.stem in {"annotations", "tasks"})
    if format_ == "cvat":
        tree = ET.parse(file)
        boxes = list(tree.getroot().iterfind("image/box"))
        boxes[0].tag = "cuboid"
        boxes[1].set("label", "zebra")
        tree.write(file)
    elif format_ == "coco":
        document = json.loads(file.read_text())
        document["annotations"][0] |= {"segmentation": [[1, 2, 3]]}
        document["annotations"][1]["category_id"] = 77
        document["categories"].append({"id": 77, "name": "zebra"})
        file.write_text(json.dumps(document))
    else:
        tasks = as_annotated(json.loads(file.read_text()))
        results = [task["annotations"][0]["result"] for task in tasks]
        results[0][0]["image_rotation"] = 90
        results[1][0]["value"]["rectanglelabels"] = ["zebra"]
        file.write_text(json.dumps(tasks))
    asked = ("review", "import", file, "-w", place / "tables", "--reviewer", "ada")
    found = problems(winnow(*asked))
    first = {"coco": "at least three points", "cvat": "cuboid: expected one of", "labelstudio": "was rotated in Label"}
    hints = (first[format_], "'zebra' (1 object, the first at ")
    for problem, hint in zip(found, hints, strict=True):
        assert hint in problem
    assert len(problems(winnow(*asked, "--category", "zebra"))) == 1
    assert decisions(place) == []
    if format_ != "coco":
        rest = brought(place, file, "--reviewer", "ada", "--category", "zebra", "--skip-unsupported")
        assert (rest["reject"], rest["correct"]) == (1, 1)
        assert any(text.startswith("left out: ") for text in rest["notes"])


def test_only_frames_that_were_reviewed_are_taken(place: Path) -> None:
    out = sent(place, "cvat")
    tree = ET.parse(out / "annotations.xml")
    images = tree.getroot().findall("image")
    images[0].remove(images[0][0])
    tree.write(out / "annotations.xml")
    with zipfile.ZipFile(out / "job.zip", "w") as archive:
        archive.writestr("annotations.xml", b"\xef\xbb\xbf" + (out / "annotations.xml").read_bytes())
    who = ("--reviewer", "ada", "--dry-run")
    changed = brought(place, out / "job.zip", *who, "--reviewed", "changed")
    assert [changed[name] for name in ("frames", "reject", "not_reviewed", "untouched")] == [1, 1, N - 1, 0]
    everything = brought(place, out / "annotations.xml", *who)
    assert [everything[name] for name in ("frames", "reject", "approve", "untouched")] == [N, 1, N - 2, N - 1]
    assert f"{N - 1} frames came back as they were exported, with {N - 2} objects" in everything["notes"][0]
    (place / "done.txt").write_text(f"{images[0].get('name')}\n{Path(str(images[2].get('name'))).name}\n")
    listed = brought(place, out / "annotations.xml", *who, "--reviewed", "listed", "--list", place / "done.txt")
    assert [listed[name] for name in ("frames", "reject", "approve", "not_reviewed")] == [2, 1, 1, N - 2]
    (place / "done.txt").write_text("nothing.jpg\n")
    asked = ("review", "import", out / "annotations.xml", "-w", place / "tables", *who)
    assert "nothing.jpg is not in" in problems(winnow(*asked, "--reviewed", "listed", "--list", place / "done.txt"))[0]
    assert "go together" in problems(winnow(*asked, "--reviewed", "listed"))[0]


def test_tags_and_attributes_go_out_again(place: Path) -> None:
    out = sent(place, "cvat", "frame_idx < 2")
    tree = ET.parse(out / "annotations.xml")
    images = tree.getroot().findall("image")
    ET.SubElement(images[0], "tag", label="rain", source="manual")
    ET.SubElement(images[1][0], "attribute", name="colour").text = "dark"
    tree.write(out / "annotations.xml")
    assert brought(place, out / "annotations.xml", "--reviewer", "ada")["correct"] == 1
    seen = rows(Workspace.at(place / "tables"), schemas.REVIEWS).filter(decision="seen").sort("frame_idx")
    assert seen["attributes"].to_list() == ['{"tags": ["rain"]}', None]
    again = ET.parse(sent(place, "cvat", "frame_idx < 2") / "annotations.xml").getroot()
    assert [tag.get("label") for tag in again.iterfind("image/tag")] == ["rain"]
    texts = {a.get("name"): a.text for a in again.findall("image")[1].iterfind("box/attribute")}
    assert texts["colour"] == "dark"
    # COCO files say nothing of tags, and so change none.
    file = sent(place, "coco", "frame_idx < 2") / "annotations.json"
    assert brought(place, file, "--reviewer", "bo", "--reviewed", "all")["approve"] == 2
    seen = rows(Workspace.at(place / "tables"), schemas.REVIEWS).filter(decision="seen").sort("frame_idx")
    assert seen["attributes"].to_list() == ['{"tags": ["rain"]}', None]


def test_tracks_of_a_tool_get_numbers_of_the_workspace(place: Path) -> None:
    out = sent(place, "cvat")
    track = ET.Element("track", id="0", label="red")
    for number in (0, 2):
        x, y, w, h = box(number)
        edges = {"xtl": x, "ytl": y, "xbr": x + w, "ybr": y + h}
        ET.SubElement(
            track,
            "box",
            {"frame": str(number), "keyframe": "1", "outside": "0"}
            | {name: str(value) for name, value in edges.items()},
        )
    root = ET.fromstring(
        "<annotations><version>1.1</version><meta><task><stop_frame>2</stop_frame></task></meta></annotations>"
    )
    root.append(track)
    ET.ElementTree(root).write(out / "video.xml")
    counts = brought(place, out / "video.xml", "--reviewer", "ada")
    # What the detector found on frames 0 to 2 is one track now, in the number that comes first.
    assert [counts[name] for name in ("frames", "correct", "add")] == [3, 3, 0]
    reviewed = rows(Workspace.at(place / "tables"), schemas.REVIEWS).filter(decision="correct")
    assert reviewed["track_id"].to_list() == [0, 0, 0]
    assert brought(place, out / "video.xml", "--reviewer", "ada")["unchanged"] == 3


def test_a_category_keeps_its_number_whenever_others_were_drawn(place: Path, tmp_path: Path) -> None:
    for number, (name, drawn) in enumerate((("zebra", None), ("ibex", "2020-01-01T00:00:00Z"))):
        out = sent(place, "coco", f"frame_idx = {number}")
        document = json.loads((out / "annotations.json").read_text())
        document |= {
            "annotations": [
                {"id": 7, "image_id": document["images"][0]["id"], "category_id": 9, "bbox": [1, 2, 30, 40]}
            ]
        }
        document["categories"].append({"id": 9, "name": name})
        document["info"] = {"date_created": drawn}
        (out / "annotations.json").write_text(json.dumps(document))
        brought(place, out / "annotations.json", "--reviewer", "ada", "--category", name)
    export(Workspace.at(place / "tables"), ExportRequest("coco", paths.place(tmp_path / "coco"), everything=True))
    exported = json.loads((tmp_path / "coco/annotations/instances_default.json").read_text())
    assert [c["name"] for c in exported["categories"]] == ["cat", "red", "zebra", "ibex"]


def test_exports_read_what_people_left(place: Path, tmp_path: Path) -> None:
    workspace = Workspace.at(place / "tables")
    out = sent(place, "coco", f"frame_idx in (1, {EMPTY})")
    document = json.loads((out / "annotations.json").read_text())
    document["annotations"] = [
        {"id": 7, "image_id": document["images"][0]["id"], "category_id": 3, "bbox": [1, 2, 30, 40]}
    ]
    document["categories"].append({"id": 3, "name": "zebra"})
    (out / "annotations.json").write_text(json.dumps(document))
    brought(place, out / "annotations.json", "--reviewer", "ada", "--category", "zebra")
    request = ExportRequest("coco", paths.place(tmp_path / "coco"), everything=True, min_score=0.95)
    manifest = export(workspace, request)
    assert (manifest["objects"], manifest["reviewed"], manifest["not_annotated"]) == (1, 2, 0)
    exported = json.loads((tmp_path / "coco/annotations/instances_default.json").read_text())
    assert [c["name"] for c in exported["categories"]] == ["cat", "red", "zebra"]
    assert [(a["bbox"], a["category_id"]) for a in exported["annotations"]] == [([1, 2, 30, 40], 3)]
    some = export(
        workspace, ExportRequest("jsonl", paths.place(tmp_path / "some"), everything=True, only_reviewed=True)
    )
    assert (some["frames"], some["objects"]) == ({"default": 2}, 1)
    # Scores are of the current objects, unless those that were found are requested.
    truth = tmp_path / "coco/annotations/instances_default.json"
    export(workspace, ExportRequest("coco", paths.place(tmp_path / "coco"), everything=True))
    assert evaluate_view(View.of(workspace), truth, "bbox", 0.25).scores.metrics["AP"] == pytest.approx(1)
    assert evaluate_view(View.of(workspace), truth, "bbox", 0.25, as_found=True).scores.metrics["AP"] < 1


def test_reviews_of_a_replaced_image_do_not_apply(own: Path, tmp_path: Path) -> None:
    place = own
    workspace = Workspace.at(place / "tables")
    out = sent(place, "coco")
    document = json.loads((out / "annotations.json").read_text())
    (out / "annotations.json").write_text(json.dumps({**document, "annotations": []}))
    brought(place, out / "annotations.json", "--reviewer", "ada")
    assert standing(place) == []
    cv2.imwrite(str(place / "data/yard/gate/image_2.png"), picture(4))
    go(workspace, place / "data", settings=["stages=[quality, curation]"])
    # Nobody has reviewed the new image, and what is on it is not known.
    with pytest.raises(UserError, match="1 frame was annotated when they had other content"):
        export(workspace, ExportRequest("coco", paths.place(tmp_path / "coco"), everything=True))
    go(workspace, place / "data", settings=settings(place))
    assert standing(place) == [(2, "red", float(box(4)[0]), None, None)]
    assert export(workspace, ExportRequest("coco", paths.place(tmp_path / "coco"), everything=True))["objects"] == 1
