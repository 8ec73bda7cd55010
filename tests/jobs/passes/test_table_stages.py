"""Scopes that reach beyond the streams of one run."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import polars as pl
import pytest

import schemas
from jobs.core.errors import RunFailedError
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.helpers import assert_one_live_row, go, noise, rows, write_noise_stream, write_pictures
from transforms.curate import curation_input
from transforms.curate.curation_input import gather

pytestmark = pytest.mark.usefixtures("engine")


def test_rebuilding_groups_starts_from_scratch(workspace: Workspace, tmp_path: Path) -> None:
    late = write_noise_stream(tmp_path / "b", [1, 2, 3])
    go(workspace, late)
    early = write_noise_stream(tmp_path / "a", [3, 4])
    go(workspace, early)
    shared = pl.col("representative_stream") != pl.col("stream_id")
    assert rows(workspace, schemas.DUPLICATES).filter(shared)["stream_id"].to_list() == ["a"]
    go(workspace, early, late, settings=["duplicates.rebuild=true"])
    assert rows(workspace, schemas.DUPLICATES).filter(shared)["stream_id"].to_list() == ["b"]
    assert_one_live_row(workspace)


def test_groups_reach_across_the_streams_of_earlier_runs(workspace: Workspace, tmp_path: Path) -> None:
    go(workspace, write_noise_stream(tmp_path / "a", [1, 2]))
    go(workspace, write_noise_stream(tmp_path / "b", [2, 9]))
    verdicts = View.of(workspace).lazy("curation").sort("stream_id", "frame_idx").collect()
    assert verdicts["reasons"].to_list() == [[], [], ["exact_duplicate"], []]


def test_a_better_image_of_another_stream_represents_the_group(workspace: Workspace, tmp_path: Path) -> None:
    soft = [(noise(7) * 0.8 + 20).astype(np.uint8)]
    go(workspace, write_pictures(tmp_path / "a", soft))
    assert rows(workspace, schemas.CURATION)["keep"].to_list() == [True]
    go(workspace, write_pictures(tmp_path / "b", [noise(7)]), settings=["duplicates.hamming=10"])
    go(workspace, tmp_path / "a", tmp_path / "b", settings=["duplicates.hamming=10"])
    found = rows(workspace, schemas.CURATION).select("stream_id", "keep").rows()
    assert found == [("a", False), ("b", True)]


def test_an_image_replaced_in_one_stream_ungroups_its_copy_in_another(workspace: Workspace, tmp_path: Path) -> None:
    a = write_noise_stream(tmp_path / "a", [1, 2, 3])
    go(workspace, a, write_noise_stream(tmp_path / "b", [4, 3]))
    assert rows(workspace, schemas.CURATION)["keep"].to_list() == [True, True, True, True, False]
    write_noise_stream(a, [9], start=2)
    go(workspace, a)
    assert rows(workspace, schemas.CURATION)["keep"].to_list() == [True] * 5


def test_a_better_copy_found_later_represents_the_group_in_streams_of_other_runs(
    workspace: Workspace, tmp_path: Path
) -> None:
    large = noise(7, 180, 320)
    small = cv2.resize(large, (160, 90), interpolation=cv2.INTER_AREA)
    go(workspace, write_pictures(tmp_path / "a", [small]))
    go(workspace, write_pictures(tmp_path / "b", [large]))
    assert rows(workspace, schemas.CURATION).select("stream_id", "keep").rows() == [("a", False), ("b", True)]


def test_a_stream_of_another_configuration_does_not_represent_groups(workspace: Workspace, tmp_path: Path) -> None:
    a = write_noise_stream(tmp_path / "a", [1, 2])
    dark = [cv2.resize(noise(seed) // 8, (320, 180)) for seed in (1, 2)]
    b = write_pictures(tmp_path / "b", dark)
    loose = "duplicates.hamming=16"
    go(workspace, a, b, settings=[loose])
    kept = rows(workspace, schemas.CURATION).filter("keep")["stream_id"].to_list()
    assert kept == ["a", "a"]
    go(workspace, a, settings=[loose, "blur.method=tenengrad"])
    assert rows(workspace, schemas.CURATION).filter("keep")["stream_id"].to_list() == ["a", "a"]


def test_a_frozen_feed_is_an_interval_of_its_own_and_its_frames_are_flagged(
    workspace: Workspace, tmp_path: Path
) -> None:
    go(workspace, write_noise_stream(tmp_path / "cam", [*range(20), *[50] * 30, *range(60, 80)]))
    found = rows(workspace, schemas.IDLE).select("start_idx", "end_idx", "frozen").rows()
    assert found == [(20, 49, True)]
    flags = rows(workspace, schemas.CURATION).sort("frame_idx")["flags"].to_list()
    assert flags == [["frozen"] if 20 <= index <= 49 else [] for index in range(70)]


def test_a_table_stage_that_loses_a_row_fails_the_run(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cam = write_noise_stream(tmp_path / "cam", range(5))
    monkeypatch.setattr(curation_input, "gather", lambda *arguments: gather(*arguments).slice(1))
    with pytest.raises(RunFailedError, match="stage curation: 5 frames in, 4 rows out"):
        go(workspace, cam)
    with pytest.raises(RunFailedError, match="stage curation: 5 frames in, 4 rows out"):
        go(workspace, cam)
    monkeypatch.undo()
    assert go(workspace, cam).outcomes["curation"].computed == 5
