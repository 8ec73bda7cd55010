"""Routing of uncertain frames, in whole runs."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

import schemas
from conf import ConfigError, load
from jobs.core.errors import UserError
from jobs.datasets.export import ExportRequest, export
from jobs.stages.detection import choose
from jobs.storage.paths import place
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.helpers import assert_one_live_row, computed, go, noise, rows, said, winnow
from tests.jobs.review.material import EMPTY, N, annotated, picture, settings
from tests.onnx_graphs import write_end_to_end
from transforms.assess.uncertainty import OBJECT_COLUMNS, RouteParams, doubts_of
from transforms.core.boxes import box_iou
from transforms.models.detect.detections import FrameKey

pytest.importorskip("onnxruntime", reason="the extra `annotate` is not installed")
pytestmark = pytest.mark.usefixtures("models_at_hand")

# Every score is 0.9; the empty frame, next to which objects are missing, is blurry, and would be dropped.
NEARLY_SURE = ("route.margin=1", "route.threshold=0.0001", "route.spread=0", "curation.ignore=[blurry]")


def routes(workspace: Workspace) -> list[tuple[str, int, str]]:
    return rows(workspace, schemas.ROUTING).select("stream_id", "frame_idx", "route").rows()


def test_streams_share_the_budgets_of_a_run(tmp_path: Path) -> None:
    one = ("route.budget_person=1", *NEARLY_SURE)
    workspace = annotated(tmp_path, *one)
    assert [r for r in routes(workspace) if r[2] != "over_budget"] == [("yard/gate", EMPTY, "person")]
    assert computed(go(workspace, tmp_path / "data", settings=settings(tmp_path, *one))) == {}
    # What is more uncertain elsewhere takes the place.
    door = tmp_path / "data/yard/door"
    door.mkdir()
    for number in range(3):
        cv2.imwrite(str(door / f"image_{number}.png"), picture(EMPTY if number == 1 else number))
    record = go(workspace, tmp_path / "data", settings=settings(tmp_path, *one))
    assert record.outcomes["route"].computed == N + 3
    assert len([r for r in routes(workspace) if r[2] == "person"]) == 1
    assert len(routes(workspace)) == N + 3
    more = settings(tmp_path, *one[1:], "route.budget_person=3")
    assert set(computed(go(workspace, tmp_path / "data", settings=more))) == {"route"}
    # Two of equal content are one question.
    assert len({("yard/gate", EMPTY, "person"), ("yard/door", 1, "person")} & set(routes(workspace))) == 1
    assert_one_live_row(workspace)
    curated = View.of(workspace).sql("SELECT count(*) FROM curated WHERE route = 'person'")
    assert curated.column(0).to_pylist() == [3]


def test_reviewed_frames_make_room_in_the_queue(tmp_path: Path) -> None:
    asked = ("route.budget_person=2", *NEARLY_SURE)
    workspace = annotated(tmp_path, *asked)
    sent: list[list[int]] = []
    for at in range(N // 2):
        sent.append([number for _, number, route in routes(workspace) if route == "person"])
        out = tmp_path / f"out{at}"
        sent_to = said(winnow("review", "export", "-w", workspace.root, "-f", "coco", "-o", out, "--json"))
        assert sent_to["frames"] == len(sent[-1]) == 2
        back = (
            "review",
            "import",
            out / "annotations.json",
            "-w",
            workspace.root,
            "--reviewer",
            "ada",
            "--reviewed",
            "all",
        )
        assert winnow(*back).exit_code == 0
        record = go(workspace, tmp_path / "data", settings=settings(tmp_path, *asked))
        assert set(computed(record)) == {"route"}
    assert EMPTY in sent[0]
    assert sorted(number for numbers in sent for number in numbers) == list(range(N))
    assert {route for _, _, route in routes(workspace)} == {"reviewed"}
    assert computed(go(workspace, tmp_path / "data", settings=settings(tmp_path, *asked))) == {}
    # What shows something else by now, nobody has reviewed.
    cv2.imwrite(str(tmp_path / "data/yard/gate/image_0.png"), picture(9))
    go(workspace, tmp_path / "data", settings=settings(tmp_path, *asked))
    assert [route for _, number, route in routes(workspace) if number == 0] == ["person"]
    assert_one_live_row(workspace)


def test_tracks_say_what_flickers_where_there_are_any(tmp_path: Path) -> None:
    folder = tmp_path / "data/gate"
    folder.mkdir(parents=True)
    missed, n = 6, 9
    for number in range(n):
        frame = np.repeat(noise(number, 128, 256)[:, :, None] // 2, 3, axis=2)
        if number != missed:
            # Too far from the frame before the last one for their boxes to overlap by much.
            frame[16:48, 13 * number : 13 * number + 40] = (0, 0, 255)
        cv2.imwrite(str(folder / f"image_{number}.png"), frame)
    workspace = Workspace.at(tmp_path / "tables")
    found = []
    for more in ("", "track, "):
        stages = f"stages=[quality, fingerprints, duplicates, curation, annotate, {more}route]"
        go(workspace, tmp_path / "data", settings=[*settings(tmp_path), stages])
        found.append(rows(workspace, schemas.ROUTING)["flicker"].to_list())
    assert found == [[0.0] * n, [float(number == missed) for number in range(n)]]


def test_a_larger_detector_is_shown_what_is_routed_to_it(tmp_path: Path) -> None:
    uncertain = (*NEARLY_SURE, "route.budget_person=1")
    workspace = annotated(tmp_path, *uncertain)
    before = rows(workspace, schemas.ANNOTATIONS)
    weights = write_end_to_end(tmp_path / "large.onnx", "N", {0: "cat", 1: "blue"}, "AGPL-3.0")
    larger = (*uncertain, f"route.larger={weights}", "route.budget_larger=2")
    record = go(workspace, tmp_path / "data", settings=settings(tmp_path, *larger))
    assert (record.outcomes["larger"].frames_in, record.outcomes["larger"].computed) == (2, 2)
    sent = {number for _, number, route in routes(workspace) if route == "larger"}
    assert (len(sent), EMPTY in sent) == (2, False)
    found = View.of(workspace).lazy("objects").select("frame_idx", "category").collect().sort("frame_idx")
    assert found.rows() == [(n, "blue" if n in sent else "red") for n in range(N) if n != EMPTY]
    assert rows(workspace, schemas.ANNOTATIONS).equals(before)
    manifest = export(workspace, ExportRequest("coco", place(tmp_path / "coco"), everything=True))
    assert [(m["model"], m["objects"], m["licence"]) for m in manifest["models"]] == [
        ("large", 2, "AGPL-3.0"),
        ("red", N - 3, "AGPL-3.0"),
    ]
    assert computed(go(workspace, tmp_path / "data", settings=settings(tmp_path, *larger))) == {}
    assert_one_live_row(workspace)


def test_the_second_detector_affects_only_disagreement(tmp_path: Path) -> None:
    workspace = annotated(tmp_path)
    before = rows(workspace, schemas.ANNOTATIONS)
    alike = write_end_to_end(tmp_path / "alike.onnx", "N", {0: "cat", 1: "red"}, "MIT")
    other = write_end_to_end(tmp_path / "other.onnx", "N", {0: "cat", 1: "blue"})
    for weights, expected in ((alike, 0.0), (other, 1.0)):
        record = go(workspace, tmp_path / "data", settings=settings(tmp_path, f"route.second={weights}"))
        assert set(computed(record)) == {"second", "route"}
        found = rows(workspace, schemas.ROUTING)
        assert found["disagreement"].to_list() == [0.0 if n == EMPTY else expected for n in range(N)]
        assert rows(workspace, schemas.ANNOTATIONS).equals(before)
        assert View.of(workspace).lazy("objects").collect().height == N - 1
    assert_one_live_row(workspace)
    with pytest.raises(UserError, match=r"nowhere\.onnx"):
        go(workspace, tmp_path / "data", settings=settings(tmp_path, "route.second=nowhere.onnx"))
    with pytest.raises(ConfigError, match=r"route\.second_detector: expected one of"):
        go(workspace, tmp_path / "data", settings=settings(tmp_path, "route.second_detector=oracle"))


def test_people_get_kept_frames_that_are_apart_and_not_known(tmp_path: Path) -> None:
    few = ("route.budget_person=2", "route.threshold=0.0001")
    workspace = annotated(tmp_path, *few)
    assert rows(workspace, schemas.CURATION).filter(~pl.col("keep"))["frame_idx"].to_list() == [EMPTY]
    first, second = (number for _, number, route in routes(workspace) if route == "person")
    assert EMPTY not in {first, second}
    assert second - first > 1
    document = {
        "images": [{"id": 1, "file_name": f"yard/gate/image_{first}.png", "width": 256, "height": 128}],
        "annotations": [],
        "categories": [],
    }
    (tmp_path / "labels.json").write_text(json.dumps(document))
    words = ("labels", "import", tmp_path / "labels.json", "-f", "coco", "--name", "known", "-w", workspace.root)
    assert winnow(*words).exception is None
    assert set(computed(go(workspace, tmp_path / "data", settings=settings(tmp_path, *few)))) == {"route"}
    assert {number: route for _, number, route in routes(workspace)}[first] == "reviewed"
    assert computed(go(workspace, tmp_path / "data", settings=settings(tmp_path, *few))) == {}


@pytest.mark.realdata
def test_the_most_uncertain_photos_have_most_of_the_errors(real_data: Path) -> None:
    """Errors of YOLOX-nano on 128 photos: objects missed, invented, and of another class."""
    folder, weights = real_data / "detection/coco128", real_data / "weights/yolox_nano.onnx"
    names = f"annotate.names={real_data / 'weights/coco.names'}"
    detector = choose(load(settings=["annotate.detector=onnx", f"annotate.weights={weights}", names]).config).exported
    model = detector.load()
    document = json.loads((folder / "instances.json").read_text())
    classes = {each["id"]: each["name"] for each in document["categories"]}
    objects, errors = [], []
    for image in document["images"]:
        frame = cv2.imread(str(folder / "images" / image["file_name"]))
        assert frame is not None
        (found,) = model([frame], [FrameKey("photos", image["id"], 0)])
        kinds = [model.names[label] for label in found.labels]
        objects += [
            (image["id"], kind, float(score), *map(float, box), None)
            for kind, score, box in zip(kinds, found.scores, found.boxes, strict=True)
        ]
        truth = [each for each in document["annotations"] if each["image_id"] == image["id"]]
        errors.append(n_errors(found.boxes, kinds, [(each["bbox"], classes[each["category_id"]]) for each in truth]))
    types = [pl.Int64, pl.String, *[pl.Float64] * 5, pl.Int64]
    rows_ = pl.DataFrame(objects, schema=dict(zip(OBJECT_COLUMNS, types, strict=True)), orient="row")
    doubts = doubts_of([image["id"] for image in document["images"]], 1, rows_, None, RouteParams(), 0.25)
    margins = dict(
        (1 - rows_["score"]).to_frame().with_columns(rows_["frame_idx"]).group_by("frame_idx").mean().iter_rows()
    )
    mean_margin = np.array([margins.get(image["id"], 0.0) for image in document["images"]])
    wrong = np.array(errors)
    share, of_margin = (shares(order, wrong) for order in (doubts["expected_errors"].to_numpy(), mean_margin))
    assert share["frames"] == 1.0
    assert share["errors"] >= 1.6 * 0.2
    assert share["errors"] > of_margin["errors"]


def shares(order: npt.NDArray[np.float64], errors: npt.NDArray[np.int64]) -> dict[str, float]:
    """Return the share of frames with an error among the first fifth, and the share of all errors that these have."""
    first = np.argsort(-order, kind="stable")[: round(len(errors) / 5)]
    return {"frames": float((errors[first] > 0).mean()), "errors": errors[first].sum() / errors.sum()}


def n_errors(boxes: npt.NDArray[np.float32], kinds: list[str], truth: list[tuple[list[float], str]]) -> int:
    """Return how many objects were missed, and how many were found where none of that class is."""
    shared = box_iou(boxes.astype(float), np.array([box for box, _ in truth], float).reshape(-1, 4))
    taken: set[int] = set()
    for at, kind in enumerate(kinds):
        near = [(shared[at, n], n) for n, (_, c) in enumerate(truth) if c == kind and n not in taken]
        best, n = max(near, default=(0.0, -1))
        if best >= 0.5:
            taken.add(n)
    return len(kinds) + len(truth) - 2 * len(taken)
