"""Routing of uncertain frames, in whole runs."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import polars as pl
import pytest

import schemas
from conf import ConfigError
from jobs.core.errors import UserError
from jobs.datasets.export import ExportRequest, export
from jobs.review.overrides import Override, record
from jobs.storage.paths import place
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.evidence import review_queue
from tests.helpers import assert_one_live_row, computed, go, noise, rows, said, winnow
from tests.jobs.review.material import EMPTY, N, annotated, picture, settings
from tests.onnx_graphs import write_end_to_end

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


def test_a_frame_that_is_dropped_by_hand_waits_behind_those_that_are_kept(tmp_path: Path) -> None:
    one = ("route.budget_person=1", *NEARLY_SURE)
    workspace = annotated(tmp_path, *one)

    def asked() -> list[int]:
        go(workspace, tmp_path / "data", settings=settings(tmp_path, *one))
        return [number for _, number, route in routes(workspace) if route == "person"]

    assert asked() == [EMPTY]
    record(workspace, [Override("yard/gate", EMPTY, "drop")], "ada")
    before = rows(workspace, schemas.ROUTING)["stage_key"].unique().to_list()
    (other,) = asked()
    assert other != EMPTY
    assert rows(workspace, schemas.ROUTING)["stage_key"].unique().to_list() == before
    # It is computed once.
    assert computed(go(workspace, tmp_path / "data", settings=settings(tmp_path, *one))) == {}
    record(workspace, [Override("yard/gate", EMPTY, None)], "ada")
    assert asked() == [EMPTY]
    assert_one_live_row(workspace)


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
    found = review_queue.photos(real_data)
    frames, errors = found.found(found.uncertainty, 0.2)
    assert frames == 1.0
    assert errors >= 1.6 * 0.2
    assert errors > found.found(found.mean_margin, 0.2)[1]


@pytest.mark.parametrize("n_objects", [4, 12])
def test_the_most_uncertain_frames_of_streams_have_errors(n_objects: int) -> None:
    for seed in range(3):
        found = review_queue.stream(n_objects, seed)
        frames, _ = found.found(found.uncertainty, 0.2)
        assert frames >= 1.6 * found.share_with_errors
        assert frames > found.found(found.mean_margin, 0.2)[0]
