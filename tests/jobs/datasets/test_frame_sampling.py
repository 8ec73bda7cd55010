"""Choosing frames from real tables."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl
import pytest

import schemas
from jobs.core.errors import UserError
from jobs.datasets import release
from jobs.datasets.export import ExportRequest, export
from jobs.datasets.frame_sampling import SelectRequest, select
from jobs.engine.ray_engine import Engine
from jobs.storage.paths import place
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.helpers import go, noise, rows, write_clip, write_noise_stream, write_pictures

_KEY = list(schemas.FRAME_KEY)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Workspace:
    """Two streams, of 30 frames and of 10, of which two are near-duplicates."""
    place = tmp_path_factory.mktemp("choosing")
    workspace = Workspace.at(place / "tables")
    a = write_noise_stream(place / "a", range(30))
    b = write_pictures(place / "b", [*(noise(seed) for seed in range(100, 109)), cv2.blur(noise(3), (2, 2))])
    go(workspace, a, b)
    return workspace


def chosen(workspace: Workspace, name: str) -> list[tuple[str, int]]:
    found = rows(workspace, schemas.SELECTIONS).filter(selection=name)
    return found.sort("rank").select(_KEY).rows()


def test_a_selection_is_rows_with_reasons(done: Workspace) -> None:
    found = select(done, SelectRequest("first", "diverse", n=8, quality=0))
    assert (found["chosen"], found["asked"], found["of"]) == (8, 8, 39)
    table = rows(done, schemas.SELECTIONS).filter(selection="first").sort("rank")
    assert table["rank"].to_list() == list(range(8))
    reasons = table["reason"].to_list()
    assert reasons == ["the best, with nothing to be far from", *["farthest from those before it"] * 7]
    assert table["value"].to_list()[1:] == sorted(table["value"].to_list()[1:], reverse=True)
    frames = View.of(done).lazy("frames").collect()
    joined = table.join(frames, on=_KEY)
    assert joined.height == 8
    assert (joined["content_hash"] == joined["content_hash_right"]).all()


def test_a_selection_replaces_only_the_one_of_its_name(done: Workspace) -> None:
    select(done, SelectRequest("kept", "uniform", n=3))
    before = chosen(done, "kept")
    select(done, SelectRequest("again", "uniform", n=5))
    select(done, SelectRequest("again", "uniform", n=4))
    assert len(chosen(done, "again")) == 4
    assert chosen(done, "kept") == before


def test_balanced_streams_have_equal_shares(done: Workspace) -> None:
    assert select(done, SelectRequest("fair", "diverse", n=12, balance=("stream",)))["streams"] == {"a": 6, "b": 6}
    assert select(done, SelectRequest("all", "uniform", fraction=1.0))["chosen"] == 39


def test_frames_of_earlier_selections_are_not_chosen_again(done: Workspace) -> None:
    select(done, SelectRequest("week1", "coverage", n=10))
    found = select(done, SelectRequest("week2", "coverage", n=10, after=("week1",)))
    assert found["taken_before"] == 10
    assert not set(chosen(done, "week1")) & set(chosen(done, "week2"))
    release.create(Store(done.root), "r1")
    assert select(done, SelectRequest("week3", "diverse", n=50, after=("r1",)))["of"] == 0
    found = select(done, SelectRequest("week3", "diverse", n=50, after=("r1:week1", "week2")))
    assert (found["taken_before"], found["of"], found["chosen"]) == (20, 19, 19)


def test_conditions_narrow_the_choice(done: Workspace) -> None:
    found = select(done, SelectRequest("late", "uniform", n=3, where="stream_id = 'a' AND frame_idx >= 20"))
    assert found["of"] == 10
    assert all(stream == "a" and index >= 20 for stream, index in chosen(done, "late"))


def test_a_selection_is_exported_and_stays_in_a_release(done: Workspace, tmp_path: Path) -> None:
    select(done, SelectRequest("shipped", "diverse", n=6))
    frozen = chosen(done, "shipped")
    release.create(Store(done.root), "shipped-v1")
    select(done, SelectRequest("shipped", "diverse", n=2))
    request = ExportRequest("jsonl", place(tmp_path / "out"), release="shipped-v1", selection="shipped")
    assert export(done, request)["frames"] == {"default": 6}
    lines = [json.loads(line) for line in (tmp_path / "out/frames_default.jsonl").read_text().splitlines()]
    assert [(line["stream_id"], line["frame_idx"]) for line in lines] == sorted(frozen)
    with pytest.raises(UserError, match="there is no selection 'shiped'; there are: "):
        export(done, ExportRequest("jsonl", place(tmp_path / "other"), selection="shiped"))


def test_no_scene_is_in_two_splits(tmp_path: Path, engine: Engine) -> None:
    # Twenty scenes of four frames each; the last frame of the first one is also in the last one.
    pictures = [noise(scene) + np.uint8(shade) for scene in range(20) for shade in range(4)]
    pictures[-1] = pictures[3]
    workspace = Workspace.at(tmp_path / "tables")
    cut = ["scenes.steadiness=1", "scenes.flash=0", "duplicates.hamming=0", "idle.min_frames=1000"]
    go(workspace, write_pictures(tmp_path / "cam", pictures), settings=cut)
    assert rows(workspace, schemas.SCENES)["n_frames"].to_list() == [4] * 19 + [3, 1]
    options: dict[str, Any] = {"everything": True, "split": {"a": 0.5, "b": 0.5}, "split_by": "scene"}
    export(workspace, ExportRequest("parquet", place(tmp_path / "out"), **options))
    exported = pl.concat([pl.read_parquet(path) for path in (tmp_path / "out").glob("*.parquet")])
    of = dict(exported.select("frame_idx", "split").iter_rows())
    assert all(len({of[i] for i in range(first, first + 4)}) == 1 for first in range(0, 76, 4))
    assert of[79] == of[3]
    assert set(of.values()) == {"a", "b"}
    # What else is exported makes no difference.
    export(workspace, ExportRequest("parquet", place(tmp_path / "few"), where="frame_idx % 3 = 1", **options))
    few = pl.concat([pl.read_parquet(path) for path in (tmp_path / "few").glob("*.parquet")])
    assert all(of[index] == split for index, split in few.select("frame_idx", "split").iter_rows())


def test_streams_without_scenes_are_named(tmp_path: Path, engine: Engine) -> None:
    workspace = Workspace.at(tmp_path / "tables")
    go(workspace, write_noise_stream(tmp_path / "cam", range(3)), settings=["stages=[duplicates, curation]"])
    request = ExportRequest("parquet", place(tmp_path / "out"), split={"a": 0.5, "b": 0.5}, split_by="scene")
    with pytest.raises(UserError, match="streams without scenes: cam"):
        export(workspace, request)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (SelectRequest("x", "uniform"), "give one of --n and --fraction"),
        (SelectRequest("x", "uniform", n=1, fraction=0.5), "give one of --n and --fraction"),
        (SelectRequest("../x", "uniform", n=1), "selection name '../x'"),
        (SelectRequest("x", "uniform", n=1, after=("x",)), "cannot come after itself"),
        (SelectRequest("x", "uniform", n=1, after=("nothing",)), "there is no selection 'nothing'"),
        (SelectRequest("x", "uniform", n=1, where="1; DROP"), "expected one SQL expression"),
        (SelectRequest("x", "uniform", fraction=float("nan")), "--fraction nan"),
        (SelectRequest("x", "coverage", n=1, seed=-1), "--seed -1"),
    ],
)
def test_invalid_requests_are_refused(done: Workspace, request_: SelectRequest, message: str) -> None:
    with pytest.raises(UserError, match=message):
        select(done, request_)


def test_hours_of_a_clip_are_counted_back_from_its_last_frame(
    workspace: Workspace, tmp_path: Path, engine: Engine
) -> None:
    hour = 3600 * 1000
    pts = [at * hour for at in range(6)]
    clip = write_clip(tmp_path / "day.mkv", [noise(seed) for seed in range(6)], times_ms=pts)
    # Its last frame was written at half past nine.
    os.utime(clip, ns=(0, (9 * 3600 + 1800) * 10**9))
    go(workspace, clip)
    for condition, hours in ((None, range(4, 10)), ("frame_idx < 3", range(4, 7))):
        name = f"hours-{len(hours)}"
        select(workspace, SelectRequest(name, "uniform", n=6, balance=("hour",), where=condition))
        found = rows(workspace, schemas.SELECTIONS).filter(selection=name).sort("frame_idx")
        assert found["stratum"].to_list() == [f"{h} h" for h in hours]
