"""Which frames objects are carried to, and that these are the same however a run goes about it."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

import schemas
from conf import load
from jobs.core.errors import UserError
from jobs.datasets.export import ExportRequest, export
from jobs.passes.model_pass import _cut
from jobs.passes.model_plan import request
from jobs.passes.model_worker import ModelTask
from jobs.passes.propagation_plan import in_stretches, with_stretches
from jobs.records.run_events import SilentListener
from jobs.runs.dry_run import forecast
from jobs.runs.prepare import RunRequest, prepare
from jobs.runs.run import run
from jobs.storage import stream_batches
from jobs.storage.paths import place
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.helpers import assert_one_live_row, assert_same_tables, computed, copy_stream, go, noise, rows
from tests.models import held_at_hand
from tests.onnx_graphs import write_end_to_end
from tests.torch_models import write_sam2, write_sam2_video
from transforms.frames.image import ImageParams

KEY = list(schemas.FRAME_KEY)


def frames(numbers: list[int], stream: str = "a", changed: int = -1) -> pl.DataFrame:
    apart = [False, *(b - a == 1 for a, b in pairwise(numbers))]
    return pl.DataFrame(
        {
            "stream_id": [stream] * len(numbers),
            "frame_idx": numbers,
            "input_id": [-n if n == changed else n for n in numbers],
            "follows": apart,
        }
    )


def keys(numbers: list[int], stream: str = "a") -> pl.DataFrame:
    return pl.DataFrame({"stream_id": [stream] * len(numbers), "frame_idx": numbers})


def found(numbers: list[int], name: str = "") -> pl.DataFrame:
    edges = {edge: [1.0] * len(numbers) for edge in ("score", "bbox_x", "bbox_y", "bbox_w", "bbox_h")}
    ids = [f"{name}{n}" for n in numbers]
    return keys(numbers).with_columns(
        annotation_id=pl.Series(ids),
        category=pl.lit("cat"),
        **{edge: pl.Series(values) for edge, values in edges.items()},
    )


def starts(numbers: list[int]) -> pl.DataFrame:
    return pl.DataFrame({"stream_id": ["a"] * len(numbers), "start_idx": numbers})


def ids(table: pl.DataFrame) -> dict[int, int]:
    return dict(table.drop_nulls("window_id").select("frame_idx", "window_id").rows())


def test_a_sequence_ends_at_an_annotated_frame_a_cut_a_gap_and_out_of_reach() -> None:
    numbers = [*range(20), *range(22, 30)]
    given = (frames(numbers), keys([2, 5, 9, 14, 23]), found([2, 9, 14, 23]), starts([0, 16]))
    carried = in_stretches(*given, reach=3)
    # Up to 5, which has nothing on it; three from 9 on; up to the cut before 16; from 23 on, behind the gap.
    assert list(ids(carried)) == [3, 4, 10, 11, 12, 15, 24, 25, 26]
    begun = carried.filter(~pl.col("follows"))["frame_idx"].to_list()
    assert begun == [0, 2, 5, 9, 14, 16, 22, 23]
    assert carried.drop_nulls("objects")["frame_idx"].to_list() == [2, 9, 14, 23]
    # Of the second sequence, 11 alone: it needs 9 and 10.
    wanted = carried.filter(frame_idx=11).with_columns(replaces=True, wanted=True)
    asked = with_stretches(carried, wanted).select("frame_idx", "wanted", "follows", "replaces").rows()
    assert asked == [(9, False, False, False), (10, False, True, False), (11, True, True, True)]


def test_the_input_id_of_a_propagated_frame_covers_images_and_objects() -> None:
    numbers = list(range(12))
    before = ids(in_stretches(frames(numbers), keys([2, 7]), found([2, 7]), starts([0]), 30))
    assert len({*before.values()}) == len(before) == 8
    # Frames from before the span make no difference.
    later = ids(in_stretches(frames(numbers[2:]), keys([2, 7]), found([2, 7]), starts([0]), 30))
    assert later == before
    for other, differ in (
        (in_stretches(frames(numbers, changed=4), keys([2, 7]), found([2, 7]), starts([0]), 30), {4, 5, 6}),
        (in_stretches(frames(numbers, changed=7), keys([2, 7]), found([2, 7]), starts([0]), 30), {8, 9, 10, 11}),
        (in_stretches(frames(numbers), keys([2, 7]), found([2, 7], "other"), starts([0]), 30), set(before)),
        (in_stretches(frames(numbers), keys([2]), found([2]), starts([0]), 30), {7, 8, 9, 10, 11}),
    ):
        now = ids(other)
        assert {n for n in {*now, *before} if now.get(n) != before.get(n)} == differ


def not_made(threads: int) -> Any:
    raise AssertionError(threads)


def test_blocks_end_with_sequences_so_that_no_frame_is_decoded_twice(tmp_path: Path) -> None:
    numbers = list(range(400))
    annotated = list(range(0, 400, 8))
    carried = in_stretches(frames(numbers), keys(annotated), found(annotated), starts([0]), reach=30)
    wanted = carried.drop_nulls("window_id").with_columns(replaces=False, wanted=True)
    columns = {"uri": "", "width": 1, "height": 1}
    todo = request(with_stretches(carried, wanted).with_columns(pl.lit(v).alias(n) for n, v in columns.items()))
    task = ModelTask(not_made, "propagate", "key", place(tmp_path), ImageParams(), 8, context=30)
    for size, processes in ((64, 2), (20, 1), (5, 3)):
        cut = [block.rows for block in _cut(todo, size, processes, task, first=True)]
        assert len(cut) > 6
        shown = [n for block in cut for n in block["frame_idx"].to_pylist()]
        assert shown == numbers
        assert not any(block["follows"][0].as_py() for block in cut)
    # A long sequence is cut all the same: each part begins with the annotated frame.
    carried = in_stretches(frames(numbers), keys([0]), found([0]), starts([0]), reach=300)
    wanted = carried.drop_nulls("window_id").with_columns(replaces=False, wanted=True)
    todo = request(with_stretches(carried, wanted).with_columns(pl.lit(v).alias(n) for n, v in columns.items()))
    cut = [block.rows for block in _cut(todo, 64, 1, replace(task, context=300), first=False)]
    assert {block["frame_idx"][0].as_py() for block in cut} == {0}
    assert [n for block in cut for n in block.filter(block["wanted"])["frame_idx"].to_pylist()] == list(range(1, 301))


N, CUT, GAP = 24, 11, range(17, 19)
EVERY = 4
EMPTY = frozenset({20})


def picture(number: int) -> npt.NDArray[np.uint8]:
    """A red box that moves before a wall, which is another one from a cut on; one of them has no box."""
    frame = np.repeat(noise(int(number >= CUT), 128, 256)[:, :, None] // 2, 3, axis=2)
    if number not in EMPTY:
        frame[16:56, 8 * number : 8 * number + 40] = (0, 0, 255)
    return frame


@pytest.fixture(scope="module")
def cam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stream") / "cam"
    folder.mkdir()
    for number in range(N):
        if number not in GAP:
            cv2.imwrite(str(folder / f"image_{number}.png"), picture(number))
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for library, extra in {
        "transformers": "transformers",
        "pycocotools": "annotate",
        "onnxruntime": "annotate",
    }.items():
        pytest.importorskip(library, reason=f"the extra `{extra}` is not installed")
    folder = tmp_path_factory.mktemp("weights")
    write_end_to_end(folder / "red.onnx", "N", {0: "cat", 1: "red"})
    (write_sam2_video(folder / "sam2") / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    return folder


def asked(models: Path, *more: str) -> list[str]:
    return [
        "stages=[annotate, propagate, track]",
        "annotate.detector=onnx",
        f"annotate.weights={models / 'red.onnx'}",
        "annotate.frames=all",
        f"when.annotate=frame_idx % {EVERY} = 0",
        f"propagate.weights={models / 'sam2'}",
        "propagate.reach=3",
        *more,
    ]


# Not between the cut and the next annotated frame, nor behind the gap, nor after the one with nothing on it.
EXPECTED = [1, 2, 3, 5, 6, 7, 9, 10, 13, 14, 15]


class Impatient(SilentListener):
    """Interrupts a run as soon as it has carried objects to a few frames."""

    _stage = ""

    def on_stage_started(self, what: str, total: int | None) -> None:
        assert total is None or total > 0
        self._stage = what

    def on_frames_done(self, frames: int) -> None:
        self.interrupted |= self._stage == "propagate" and frames > 0


@pytest.mark.usefixtures("engine")
@pytest.mark.slow
def test_propagated_objects_do_not_depend_on_blocks_or_on_interruptions(
    tmp_path: Path, cam: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, three = (Workspace.at(tmp_path / name) for name in ("one", "two", "three"))
    with held_at_hand():
        record = go(one, cam, settings=asked(models))
    assert rows(one, schemas.PROPAGATED)["frame_idx"].to_list() == EXPECTED
    assert record.outcomes["propagate"].frames_in == record.outcomes["propagate"].computed == len(EXPECTED)
    assert rows(one, schemas.PROPAGATED)["origin_idx"].to_list() == [n // EVERY * EVERY for n in EXPECTED]
    assert rows(one, schemas.PROPAGATIONS).height == rows(one, schemas.PROPAGATED)["n_propagated"].sum() > 0
    assert_one_live_row(one)

    monkeypatch.setattr(stream_batches, "WINDOW", 5)
    more = ["unit_frames=4", "resources.model_frames=1", "resources.models=2", "resources.model_batch=1"]
    go(two, cam, settings=asked(models, *more))
    # Another number of threads rounds sums otherwise.
    assert_same_tables(one, two, ("score",))
    mine, theirs = (rows(each, schemas.PROPAGATIONS)["score"].to_numpy() for each in (one, two))
    np.testing.assert_allclose(mine, theirs, atol=1e-5)

    loaded = load(settings=asked(models, "resources.model_frames=1", "resources.commit_seconds=0.01"))
    with held_at_hand():
        stopped = run(RunRequest(three, [str(cam)], loaded), Impatient())
        assert stopped.state == "paused"
        before = View.of(three).lazy("propagated_all").collect().height
        assert before < len(EXPECTED)
        record = run(RunRequest(three, [str(cam)], loaded), job_id=stopped.job_id)
    assert record.outcomes["propagate"].computed == len(EXPECTED)
    assert_same_tables(one, three)


@pytest.mark.usefixtures("models_at_hand")
def test_only_propagated_frames_with_changed_inputs_are_recomputed(tmp_path: Path, cam: Path, models: Path) -> None:
    workspace, data = Workspace.at(tmp_path / "ws"), copy_stream(cam, tmp_path / "cam")
    go(workspace, data, settings=asked(models))
    assert computed(go(workspace, data, settings=asked(models))) == {}
    before = rows(workspace, schemas.PROPAGATED)
    cv2.imwrite(str(data / "image_6.png"), picture(20))
    planned = go(workspace, data, settings=["stages=[quality]"])
    assert planned.state == "done"
    # The image is another one than that which objects were carried to.
    with pytest.raises(UserError, match=r"1 frame was annotated when they had other content \(cam 6\)"):
        export(workspace, ExportRequest("coco", place(tmp_path / "out"), everything=True))
    again = go(workspace, data, settings=asked(models)).outcomes["propagate"]
    # The frame itself, and the one after it that the same objects were carried to.
    assert (again.computed, again.removed) == (2, 0)
    now = rows(workspace, schemas.PROPAGATED)
    same = before.join(now, on=[*KEY, "input_id"], how="semi")["frame_idx"].to_list()
    assert same == [n for n in EXPECTED if n not in (6, 7)]
    # With nothing on the annotated frame there is nothing to be carried on.
    cv2.imwrite(str(data / "image_4.png"), picture(20))
    gone = go(workspace, data, settings=asked(models)).outcomes["propagate"]
    assert (gone.computed, gone.removed) == (0, 3)
    assert_one_live_row(workspace)


@pytest.mark.usefixtures("models_at_hand")
def test_readers_see_what_was_carried_among_the_annotations(tmp_path: Path, cam: Path, models: Path) -> None:
    workspace = Workspace.at(tmp_path / "ws")
    go(workspace, cam, settings=asked(models, "track.min_score=0.1", "track.min_iou=0.01"))
    view = View.of(workspace)
    seen = rows(workspace, schemas.ANNOTATIONS)
    carried = rows(workspace, schemas.PROPAGATIONS)
    assert seen.filter(source="sam2_video").height == carried.height > 0
    assert seen["annotation_id"].is_unique().all()
    # A carried object has the track of the one that it comes from.
    tracks = dict(rows(workspace, schemas.TRACKS).select("annotation_id", "track_id").rows())
    numbers = dict(seen.select("annotation_id", "track_id").rows())
    assert tracks
    for name, origin in carried.select("annotation_id", "origin_id").iter_rows():
        assert numbers[name] == tracks.get(origin)
    by_sql = view.sql("SELECT * FROM annotations ORDER BY annotation_id").to_pylist()
    assert by_sql == seen.select(list(by_sql[0])).sort("annotation_id").to_dicts()
    curated = view.sql("SELECT n_objects, n_propagated FROM curated ORDER BY frame_idx").to_pylist()
    assert [each["n_objects"] is None for each in curated[:4]] == [False, True, True, True]
    assert [each["n_propagated"] is None for each in curated[:4]] == [True, False, False, False]
    manifest = export(workspace, ExportRequest("coco", place(tmp_path / "coco"), everything=True))
    by_source = {each["source"]: each for each in manifest["models"]}
    assert by_source["sam2_video"]["objects"] == carried.height
    assert by_source["sam2_video"]["licence"] == "apache-2.0"
    n_carried_to = rows(workspace, schemas.PROPAGATED).filter(pl.col("n_propagated") > 0).height
    n_annotated = rows(workspace, schemas.ANNOTATED).height
    assert manifest["propagated"] == n_carried_to
    assert manifest["not_annotated"] == N - len(GAP) - n_annotated - n_carried_to
    document = json.loads((tmp_path / "coco/annotations/instances_default.json").read_text())
    assert sum(bool(each["segmentation"]) for each in document["annotations"]) == carried.height
    # Where a detector now annotates every frame, only its objects count, also before anything is carried otherwise.
    go(
        workspace,
        cam,
        settings=[s for s in asked(models) if not s.startswith(("stages", "when"))] + ["stages=[annotate]"],
    )
    assert rows(workspace, schemas.ANNOTATIONS)["source"].unique().to_list() == ["onnx"]


def test_wrong_weights_of_propagation_are_refused_before_any_work(tmp_path: Path, cam: Path, models: Path) -> None:
    plain = write_sam2(tmp_path / "plain")
    with pytest.raises(UserError, match=r"propagate.weights=.*: expected a model of type sam2_video, found sam2"):
        go(Workspace.at(tmp_path / "ws"), cam, settings=asked(models, f"propagate.weights={plain}"))
    planned = forecast(prepare(RunRequest(Workspace.at(tmp_path / "ws"), [str(cam)], load(settings=asked(models)))))
    assert next(f for f in planned if f.stage == "propagate").compute > 0
