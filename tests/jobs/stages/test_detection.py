"""Annotation from one end of a run to the other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

import schemas
from conf import load
from jobs.analysis.detection_eval import DetectionResult, evaluate_view
from jobs.core.errors import RunFailedError, UserError
from jobs.datasets.export import ExportRequest, export
from jobs.engine.ray_engine import Engine
from jobs.stages.detection import annotate_stage
from jobs.storage import stream_batches
from jobs.storage.annotation_committer import ObjectCommitter
from jobs.storage.paths import place
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.helpers import assert_one_live_row, assert_same_tables, computed, copy_stream, go, noise, rows, write_clip
from tests.models import held_at_hand
from tests.onnx_graphs import write_end_to_end
from transforms.formats.reviewing.shapes import HASH_DIGITS
from transforms.models.detect.detections import FrameKey, Thresholds
from transforms.models.detect.motion_boxes import MotionBoxParams, MotionDetector

pytest.importorskip("onnxruntime", reason="the extra `annotate` is not installed")
pytestmark = pytest.mark.usefixtures("models_at_hand")
N = 12
EMPTY = frozenset({3, 7})
KEY = list(schemas.FRAME_KEY)
SMALL = ("resources.model_frames=4", "resources.model_batch=2")


def box(number: int) -> tuple[int, int, int, int]:
    return 8 * number, 16, 40, 32


def picture(number: int) -> npt.NDArray[np.uint8]:
    """A texture of its own with a red rectangle, but for two of them."""
    frame = np.repeat(noise(number, 128, 256)[:, :, None] // 2, 3, axis=2)
    if number not in EMPTY:
        x, y, w, h = box(number)
        frame[y : y + h, x : x + w] = (0, 0, 255)
    return frame


def write_stream(folder: Path, numbers: range = range(N)) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        cv2.imwrite(str(folder / f"image_{number}.png"), picture(number))
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_end_to_end(tmp_path_factory.mktemp("weights") / "red.onnx", "N", {0: "cat", 1: "red"}, "AGPL-3.0")


def asked(weights: Path, *more: str) -> list[str]:
    stages = "stages=[quality, fingerprints, duplicates, curation, annotate]"
    return [stages, "annotate.detector=onnx", f"annotate.weights={weights}", "annotate.frames=all", *SMALL, *more]


def objects(workspace: Workspace) -> pl.DataFrame:
    columns = ["stream_id", "frame_idx", "category", "bbox_x", "bbox_y", "bbox_w", "bbox_h"]
    return View.of(workspace).lazy("annotations").select(columns).collect().sort("stream_id", "frame_idx")


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory, weights: Path, engine: Engine) -> Workspace:
    """Two cameras that share a file name, and a frame that does not decode; kept frames annotated first, then all."""
    root = tmp_path_factory.mktemp("annotated")
    write_stream(root / "data/a")
    (root / "data/a/image_12.png").write_bytes(b"no image")
    write_stream(root / "data/b", range(3, 5))
    workspace = Workspace.at(root / "tables")
    with held_at_hand():
        go(workspace, root / "data", settings=asked(weights, "annotate.frames=kept"))
    kept = rows(workspace, schemas.CURATION).filter("keep").select(KEY)
    assert 0 < kept.height < N + 2
    assert rows(workspace, schemas.ANNOTATED).select(KEY).equals(kept)
    with held_at_hand():
        record = go(workspace, root / "data", settings=asked(weights))
    assert record.outcomes["annotate"].frames_in == N + 2
    assert computed(record) == {"annotate": N + 2 - kept.height}
    return workspace


def test_every_frame_is_annotated_and_has_what_is_on_it(annotated: Workspace) -> None:
    frames_annotated = rows(annotated, schemas.ANNOTATED).filter(stream_id="a")
    assert dict(frames_annotated.select("frame_idx", "n_objects").rows()) == {n: int(n not in EMPTY) for n in range(N)}
    expected = [("a", n, "red", *map(float, box(n))) for n in range(N) if n not in EMPTY]
    assert objects(annotated).rows() == [*expected, ("b", 4, "red", *map(float, box(4)))]
    who = rows(annotated, schemas.ANNOTATIONS).select("source", "model", "weights_hash").unique()
    assert who.rows()[0][:2] == ("onnx", "red")
    assert len(who["weights_hash"][0]) == 64
    assert_one_live_row(annotated)
    curated = View.of(annotated).sql("SELECT count(*) FROM curated WHERE stream_id = 'a' AND n_objects = 0")
    assert curated.column(0).to_pylist() == [len(EMPTY)]


def test_only_missing_frames_are_annotated_for_every_size_of_blocks(
    annotated: Workspace, workspace: Workspace, tmp_path: Path, weights: Path
) -> None:
    data = copy_stream(annotated.folder.parent / "data", tmp_path / "data")
    large = ("resources.model_frames=64", "resources.model_batch=8")
    go(workspace, data, settings=asked(weights, *large), limit=5)
    before = rows(workspace, schemas.ANNOTATIONS)
    # Another image in the place of one with something on it, one with it in the place of one without, one less.
    cv2.imwrite(str(data / "a/image_1.png"), picture(3))
    cv2.imwrite(str(data / "a/image_3.png"), picture(1))
    (data / "a/image_2.png").unlink()
    record = go(workspace, data, settings=asked(weights, *large))
    assert (record.outcomes["annotate"].computed, record.outcomes["annotate"].removed) == (N + 1 - 2, 1)
    mine, other = (objects(w).filter(~pl.col("frame_idx").is_in([1, 2, 3])) for w in (workspace, annotated))
    assert mine.equals(other)
    assert objects(workspace).filter(stream_id="a")["frame_idx"].to_list()[:3] == [0, 3, 4]
    after = rows(workspace, schemas.ANNOTATIONS)
    assert before.join(after, on="annotation_id")["frame_idx"].sort().to_list() == [0, 4]
    ids = [
        rows(w, schemas.ANNOTATIONS).filter(pl.col("frame_idx") > 3)["annotation_id"] for w in (workspace, annotated)
    ]
    assert ids[0].equals(ids[1])
    assert_one_live_row(workspace)
    # The place of the weights has no effect.
    elsewhere = copy_stream(weights.parent, tmp_path / "elsewhere") / "red.onnx"
    assert computed(go(workspace, data, settings=asked(elsewhere))) == {}


def test_detections_are_exported_and_scored(annotated: Workspace, tmp_path: Path) -> None:
    n, found_on = N + 2, N - len(EMPTY) + 1
    request = ExportRequest("coco", place(tmp_path / "coco"), everything=True, split={"train": 0.5, "val": 0.5})
    manifest = export(annotated, request)
    assert (manifest["objects"], manifest["models"][0]["objects"]) == (found_on, found_on)
    assert manifest["models"][0]["licence"] == "AGPL-3.0"
    assert "source of the whole program" in manifest["models"][0]["restriction"]
    # It has decided that there is nothing, too.
    nothing = export(annotated, ExportRequest("coco", place(tmp_path / "none"), everything=True, min_score=1.0))
    ((model, objects_),) = [(each, nothing["objects"]) for each in nothing["models"]]
    assert (objects_, model["source"], model["model"], model["frames"]) == (0, "onnx", "red", n)
    assert model["weights_hash"] == manifest["models"][0]["weights_hash"]
    assert (model["licence"], model["restriction"]) == ("AGPL-3.0", manifest["models"][0]["restriction"])
    for split in ("train", "val"):
        path = tmp_path / f"coco/annotations/instances_{split}.json"
        document = json.loads(path.read_text())
        assert [c["name"] for c in document["categories"]] == ["cat", "red"]
        # What was exported says which frames its images are, wherever the files are now.
        found = evaluate_view(View.of(annotated), path, "bbox", 0.25)
        assert found.n_images == len(document["images"])
        assert found.scores.metrics["AP"] == pytest.approx(1.0)
    for format_ in ("yolo", "voc", "jsonl", "parquet", "webdataset"):
        one, two = (
            ExportRequest(format_, place(tmp_path / format_ / name), everything=True, min_score=0.5)
            for name in ("one", "two")
        )
        assert export(annotated, one) == export(annotated, two)
        assert export(annotated, two)["objects"] == found_on
    assert len(list((tmp_path / "yolo/one/labels").rglob("*.txt"))) == n
    lines = [json.loads(line) for line in (tmp_path / "jsonl/one/frames_default.jsonl").read_text().splitlines()]
    assert [len(line["annotations"]) for line in lines if line["stream_id"] == "a"] == [
        int(n not in EMPTY) for n in range(N)
    ]
    assert [p.name for p in (tmp_path / "webdataset/one").iterdir() if p.suffix == ".tar"] == ["default-000000.tar"]
    none = export(annotated, ExportRequest("coco", place(tmp_path / "none"), everything=True, min_score=0.95))
    assert (none["objects"], sum(none["frames"].values())) == (0, n)
    kept = export(annotated, ExportRequest("coco", place(tmp_path / "kept")))
    assert 0 < sum(kept["frames"].values()) < n
    with pytest.raises(UserError, match="expected masks, found boxes alone"):
        export(annotated, ExportRequest("yolo-segment", place(tmp_path / "seg")))
    with pytest.raises(UserError, match="needs copy or link"):
        export(annotated, ExportRequest("yolo", place(tmp_path / "y"), media="none"))


def test_ground_truth_is_matched_by_file_names(annotated: Workspace, tmp_path: Path) -> None:
    names = ["image_0.png", "a/image_3.png", "image_3.png", "image_99.png", "deep/folder/image_5.png"]
    images: list[dict[str, Any]] = [
        {"id": n, "file_name": name, "width": 256, "height": 128} for n, name in enumerate(names)
    ]
    objects_: list[dict[str, Any]] = [{"image_id": 0, "category_id": 3, "bbox": list(box(0))}]
    path = tmp_path / "truth.json"

    def held() -> DetectionResult:
        truth = {"images": images, "categories": [{"id": 3, "name": "Red "}], "annotations": objects_}
        path.write_text(json.dumps(truth))
        return evaluate_view(View.of(annotated), path, "bbox", 0.25)

    found = held()
    assert (found.n_images, found.n_truth, found.n_found) == (3, 1, 2)
    assert (found.matching.ambiguous, found.matching.missing) == (["image_3.png"], ["image_99.png"])
    # The name that an export for annotation tools gives to a frame is known, in any folder.
    content = View.of(annotated).lazy("frames").filter(frame_idx=6).collect()["content_hash"].item()
    images.append({"id": 9, "file_name": f"job_1/00000006-{content[:HASH_DIGITS]}.png"})
    assert held().n_images == 4
    images.pop()
    images[0]["width"] = 255
    with pytest.raises(UserError, match=r"image_0\.png is 255x128 in the ground truth, but 256x128"):
        held()
    del images[:3], images[1:], objects_[:]
    with pytest.raises(UserError, match="none of the 1 images of the ground truth is an annotated frame: 1 are no"):
        held()


def test_ground_truth_made_by_models_of_the_workspace_is_counted(annotated: Workspace, tmp_path: Path) -> None:
    export(annotated, ExportRequest("coco", place(tmp_path / "out"), everything=True))
    own = tmp_path / "out/annotations/instances_default.json"
    found = evaluate_view(View.of(annotated), own, "bbox", 0.25)
    assert found.matching.unreviewed == found.n_truth > 0


def test_objects_of_a_run_that_was_cut_short_are_replaced(
    workspace: Workspace, tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cam = write_stream(tmp_path / "cam")

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        # After the objects, before the frames that they are on.
        broken.setattr(ObjectCommitter.__base__, "flush", dies)
        with pytest.raises(KeyboardInterrupt):
            go(workspace, cam, settings=asked(weights))
    store = Store(workspace.root)
    assert store.open(schemas.ANNOTATED).n_rows == 0
    go(workspace, cam, settings=asked(weights, "resources.model_frames=5"))
    assert rows(workspace, schemas.ANNOTATED).height == N
    assert objects(workspace).height == N - len(EMPTY) == store.open(schemas.ANNOTATIONS).n_rows


def test_every_problem_is_reported_before_any_work(workspace: Workspace, tmp_path: Path, weights: Path) -> None:
    cam = write_stream(tmp_path / "cam", range(1))
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    (tmp_path / "twice.txt").write_text("a\na\n")
    for settings, said in (
        (
            ["annotate.weights=nowhere.onnx", f"annotate.names={tmp_path / 'none.txt'}"],
            ["expected a file or one of", "none.txt"],
        ),
        (
            ["annotate.weights=null", f"annotate.names={tmp_path / 'twice.txt'}"],
            ["found nothing", "found a more often"],
        ),
        ([f"annotate.weights={tmp_path / 'bad.onnx'}"], ["is no ONNX model"]),
        (["annotate.layout=yolox", "annotate.layout=d-fine"], ["expected two inputs"]),
        (["annotate.size=32"], ["has a fixed size of 64x64 pixels, but annotate.size is 32x32"]),
        (["annotate.detector=motion"], ["the detector motion has none"]),
    ):
        with pytest.raises(UserError) as caught:
            go(workspace, cam, settings=asked(weights, *settings))
        assert len(caught.value.problems) == len(said)
        for problem, part in zip(caught.value.problems, said, strict=True):
            assert part in problem
    assert not workspace.exists


def test_names_that_do_not_reach_end_the_run(workspace: Workspace, tmp_path: Path, weights: Path) -> None:
    """Nobody may be left with objects that go by the names of others."""
    cam = write_stream(tmp_path / "cam")
    nameless = write_end_to_end(tmp_path / "nameless.onnx", "N")
    (tmp_path / "one.txt").write_text("cat\n")
    with pytest.raises(RunFailedError, match=r"object of class 1, .* there are 1 names; set annotate.names"):
        go(workspace, cam, settings=asked(nameless, f"annotate.names={tmp_path / 'one.txt'}"))
    assert rows(workspace, schemas.QUARANTINE).height == objects(workspace).height == 0
    (tmp_path / "two.txt").write_text("cat\nred\n")
    go(workspace, cam, settings=asked(nameless, f"annotate.names={tmp_path / 'two.txt'}"))
    assert set(objects(workspace)["category"]) == {"red"}


def moving(at: int) -> npt.NDArray[np.uint8]:
    frame = noise(1, 180, 320) // 2
    frame[60:84, 5 * at : 5 * at + 24] = 240
    return frame


MOTION = ("stages=[annotate]", "annotate.frames=all", "annotate.min_score=0.2", "moving.history=12", *SMALL)


def test_motion_boxes_do_not_depend_on_blocks_or_on_interruptions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = [*range(20), *range(24, 44)]
    folder = tmp_path / "cam"
    folder.mkdir()
    for at, number in enumerate(numbers):
        cv2.imwrite(str(folder / f"image_{number}.png"), moving(at))
    clip = write_clip(tmp_path / "gate.mp4", [moving(at) for at in range(24)])
    one, other = (Workspace.at(tmp_path / name) for name in ("one", "other"))
    go(one, folder, clip, settings=[*MOTION, "resources.model_frames=7"], limit=19)
    assert rows(one, schemas.ANNOTATED)["frame_idx"].to_list() == numbers[:19]
    # A frame that changes changes what is found after it, as far as it is looked back at, but not behind a gap: it and
    # six more that were annotated, next to those that were not.
    cv2.imwrite(str(folder / "image_12.png"), moving(30))
    assert go(one, folder, clip, settings=MOTION).outcomes["annotate"].computed == 21 + 7 + 24
    # In spans of sixteen frames, over whose borders the past reaches.
    monkeypatch.setattr(stream_batches, "WINDOW", 16)
    go(other, folder, clip, settings=[*MOTION, "resources.model_frames=40"])
    assert_same_tables(one, other)
    frames_annotated = rows(one, schemas.ANNOTATED)
    found = dict(frames_annotated.filter(stream_id="cam").select("frame_idx", "n_objects").rows())
    # Nothing is known of the scene at first, and after the gap.
    assert [n for n in numbers if not found[n]] == [*range(5), *range(24, 29)]
    frames = [np.repeat(moving(30 if at == 12 else at)[:, :, None], 3, axis=2) for at in range(20)]
    keys = [FrameKey("cam", number, 0) for number in range(20)]
    plain = MotionDetector(MotionBoxParams(history=12), Thresholds(0.2, 1, 300))(frames, keys)
    boxes = rows(one, schemas.ANNOTATIONS).filter(pl.col("frame_idx") < 20, stream_id="cam")
    boxes = boxes.sort("frame_idx", "score", descending=[False, True])
    expected = np.concatenate([each.boxes for each in plain])
    np.testing.assert_array_equal(boxes.select("bbox_x", "bbox_y", "bbox_w", "bbox_h").to_numpy(), expected)
    of_clip = frames_annotated.filter(stream_id="gate")["n_objects"].to_list()
    assert of_clip[:5] == [0] * 5
    assert sum(n == 1 for n in of_clip[5:]) >= 17


def test_the_key_does_not_hold_what_changes_the_speed_alone(weights: Path) -> None:
    def key(*settings: str) -> str:
        return annotate_stage(load(settings=[*asked(weights), *settings]).config).key

    assert key() == key("resources.model_batch=7") == key("annotate.frames=kept")
    assert len({key(), key("annotate.max_objects=5"), key("annotate.nms_iou=0.5"), key("annotate.min_score=0.3")}) == 4


@pytest.mark.realdata
def test_coco_photos_score_as_under_the_published_steps(workspace: Workspace, real_data: Path) -> None:
    """A plain script with the published steps gives the same: letterbox of 114, grid, NMS of 0.65 by class."""
    folder = real_data / "detection/coco128"
    weights = real_data / "weights/yolox_nano.onnx"
    settings = ["stages=[annotate]", "annotate.detector=onnx", f"annotate.weights={weights}"]
    go(workspace, folder / "images", settings=[*settings, "annotate.min_score=0.001", "annotate.frames=all"])
    found = evaluate_view(View.of(workspace), folder / "instances.json", "bbox", 0.25)
    assert (found.n_images, found.n_truth) == (128, 929)
    assert found.scores.metrics["AP"] == pytest.approx(0.33398, abs=0.005)
    assert found.scores.metrics["AP50"] == pytest.approx(0.51398, abs=0.005)


def test_classes_of_the_detector_are_chosen_by_name(weights: Path) -> None:
    def stage(*more: str) -> Any:
        return annotate_stage(load(settings=asked(weights, *more)).config)

    every, red, both = stage(), stage("annotate.classes=[red]"), stage("annotate.classes=[red, cat]")
    assert len({every.key, red.key, both.key}) == 3
    assert [each.params["annotate.names"] for each in (every, red, both)] == [["cat", "red"], ["red"], ["cat", "red"]]
    with pytest.raises(UserError) as refused:
        stage("annotate.classes=[Red, lorry, cat]")
    assert refused.value.problems == [
        "annotate.classes: onnx has no class 'Red'; the nearest is 'red'",
        "annotate.classes: onnx has no class 'lorry'; it has cat, red",
    ]
    with pytest.raises(UserError, match=r"annotate\.classes=.*: the detector motion has none"):
        annotate_stage(load(settings=["annotate.classes=[red]"]).config)


def test_only_objects_of_the_chosen_classes_are_recorded(tmp_path: Path, weights: Path, engine: Engine) -> None:
    folder = write_stream(tmp_path / "data/yard", range(4))
    workspace = Workspace.at(tmp_path / "tables")
    with held_at_hand():
        go(workspace, folder, settings=asked(weights, "annotate.classes=[red]"))
        assert objects(workspace)["category"].to_list() == ["red"] * 3
        assert rows(workspace, schemas.CATEGORIES)["category"].to_list() == ["red"]
        record = go(workspace, folder, settings=asked(weights, "annotate.classes=[cat]"))
    assert computed(record)["annotate"] == 4
    assert not objects(workspace).height
    assert rows(workspace, schemas.ANNOTATED)["n_objects"].to_list() == [0] * 4
