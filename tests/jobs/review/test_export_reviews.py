from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from blake3 import blake3

import schemas
from jobs.datasets.export import ExportRequest, export
from jobs.engine.ray_engine import Engine
from jobs.storage.paths import place
from jobs.storage.workspace import Workspace
from tests.helpers import go, problems, rows, said, winnow, write_noise_stream
from tests.jobs.review.material import EMPTY, N, annotated

pytest.importorskip("onnxruntime", reason="the extra `annotate` is not installed")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Workspace:
    return annotated(tmp_path_factory.mktemp("outgoing"))


def test_frames_go_out_under_names_that_say_which_they_are(workspace: Workspace, tmp_path: Path) -> None:
    out = tmp_path / "out"
    exported = said(
        winnow("review", "export", "-w", workspace.root, "-f", "cvat", "-o", out, "--where", "true", "--json")
    )
    assert (exported["frames"], exported["objects"]) == (N, N - 1)
    images = ET.parse(out / "annotations.xml").getroot().findall("image")
    assert [image.get("name") for image in images] == sorted(
        p.relative_to(out / "images").as_posix() for p in (out / "images").rglob("*.png")
    )
    for number, image in enumerate(images):
        data = Path(str(workspace.root.parent), f"data/yard/gate/image_{number}.png").read_bytes()
        assert image.get("name") == f"yard/gate/{number:08d}-{blake3(data).hexdigest()[:16]}.png"
        assert (out / "images" / str(image.get("name"))).read_bytes() == data
        assert len(image.findall("box")) == (number != EMPTY)
    assert json.loads((out / "manifest.json").read_text())["source"]["tables"]["annotations"] >= 0


def test_a_condition_and_a_number_choose(workspace: Workspace, tmp_path: Path) -> None:
    chosen = ("--where", "n_objects > 0", "--n", 2, "--media", "none", "--json")
    out = tmp_path / "out"
    exported = said(winnow("review", "export", "-w", workspace.root, "-f", "labelstudio", "-o", out, *chosen))
    assert exported["frames"] == 2
    assert sorted(p.name for p in out.iterdir()) == ["labels.xml", "manifest.json", "tasks.json"]
    queued = winnow("review", "export", "-w", workspace.root, "-f", "coco", "-o", tmp_path / "queue", "--json")
    assert (said(queued)["frames"], rows(workspace, schemas.ROUTING)["route"][EMPTY]) == (1, "person")
    nothing = winnow("review", "export", "-w", workspace.root, "-f", "coco", "-o", tmp_path / "no", "--where", "false")
    assert nothing.output == "no frame waits for review\n"
    assert not (tmp_path / "no").exists()


def test_frames_that_were_not_annotated_can_be_drawn_on(tmp_path: Path, engine: Engine) -> None:
    bare = Workspace.at(tmp_path / "tables")
    go(bare, write_noise_stream(tmp_path / "cam", range(2)), settings=["stages=[quality, curation]"])
    asked = ("review", "export", "-w", bare.root, "-f", "coco", "-o", tmp_path / "out", "--where", "keep")
    assert "there is no review queue" in problems(winnow(*asked[:-2]))[0]
    assert said(winnow(*asked, "--category", "person", "--json"))["frames"] == 2
    document = json.loads((tmp_path / "out/annotations.json").read_text())
    assert [c["name"] for c in document["categories"]] == ["person"]
    document["annotations"] = [
        {"id": 1, "image_id": document["images"][0]["id"], "category_id": 1, "bbox": [1, 2, 30, 40]}
    ]
    (tmp_path / "out/annotations.json").write_text(json.dumps(document))
    back = ("review", "import", tmp_path / "out/annotations.json", "-w", bare.root, "--reviewer", "ada")
    assert said(winnow(*back, "--category", "person", "--json"))["add"] == 1
    manifest = export(bare, ExportRequest("coco", place(tmp_path / "coco"), only_reviewed=True))
    assert (manifest["frames"], manifest["objects"]) == ({"default": 2}, 1)
    assert [(m["source"], m["model"], m["licence"]) for m in manifest["models"]] == [("review", "ada", None)]


def test_invalid_requests_for_reviews_are_refused(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").touch()
    asked = ("review", "export", "-w", workspace.root, "-f", "coco", "-o")
    assert "somebody may be working on it" in problems(winnow(*asked, tmp_path / "mine", "--where", "true"))[0]
    assert "expected one SQL expression" in problems(winnow(*asked, tmp_path / "out", "--where", "1) OR (1"))[0]


def test_selected_frames_are_apart_as_those_of_the_queue_are(workspace: Workspace, tmp_path: Path) -> None:
    def exported(*more: object) -> list[int]:
        out = tmp_path / str(len(list(tmp_path.iterdir())))
        asked = ("review", "export", "-w", workspace.root, "-f", "coco", "-o", out, "--media", "none")
        result = winnow(*asked, "--where", "true", *more)
        assert result.exception is None, result.exception
        notes.append(result.output.splitlines()[1:])
        return [image["frame_idx"] for image in json.loads((out / "annotations.json").read_text())["images"]]

    notes: list[list[str]] = []
    routing = rows(workspace, schemas.ROUTING)
    kept = rows(workspace, schemas.CURATION)["keep"].to_list()
    order = routing.sort("uncertainty", "frame_idx", descending=[True, False])["frame_idx"].to_list()
    order.sort(key=lambda number: not kept[number])
    best = [number for number in order if kept[number]]
    best = [number for number in best if routing["uncertainty"][number] == routing["uncertainty"][best[0]]]
    assert exported() == list(range(N))
    near = notes[-1][0]
    assert "of them are duplicates or neighbours of others; --spread 1 leaves these out" in near
    # Frames of a folder are a second apart: of two in a row only one is left.
    apart = exported("--spread", 1)
    assert all(b - a > 1 for a, b in pairwise(apart))
    assert set(best) & set(apart)
    assert near.startswith(f"{N - len(apart)} of them")
    assert notes[-1] == []
    assert exported("--n", 2) == [number for number in apart if number in exported("--n", 2)]
    two = exported("--n", 2)
    assert len(two) == 2
    assert two[1] - two[0] > 1
    assert set(best) & set(two)
    assert all(kept[number] for number in two)
    wide = exported("--spread", 2.5)
    assert all(b - a > 2 for a, b in pairwise(wide))
    assert exported("--n", 3, "--spread", 0) == sorted(order[:3])
    asked = ("review", "export", "-w", workspace.root, "-f", "coco", "-o", tmp_path / "no", "--spread", "-1")
    assert problems(winnow(*asked)) == ["--spread -1: expected seconds, from 0 on"]


def test_nobody_is_asked_about_frames_that_somebody_dropped_by_hand(tmp_path: Path, engine: Engine) -> None:
    workspace = annotated(tmp_path)
    words = ("review", "export", "-w", workspace.root, "-f", "coco", "--media", "none", "--json")
    queued = said(winnow(*words, "-o", tmp_path / "before"))["frames"]
    assert queued == 1
    assert (
        winnow("overrides", "set", "drop", "--stream", "yard/gate", "--frame", EMPTY, "-w", workspace.root).exception
        is None
    )
    assert said(winnow(*words, "-o", tmp_path / "after"))["frames"] == 0
    chosen = said(winnow(*words, "-o", tmp_path / "chosen", "--where", "route = 'person'"))
    assert chosen["frames"] == 1
