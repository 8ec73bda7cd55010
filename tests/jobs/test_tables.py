"""Scopes that reach beyond the streams of one run."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import schemas
from jobs.query import View
from jobs.workspace import Workspace
from tests.helpers import assert_one_live_row, go, noise, rows, write_noise_stream, write_pictures

pytestmark = pytest.mark.usefixtures("engine")


def test_rebuilding_groups_starts_afresh(workspace: Workspace, tmp_path: Path) -> None:
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


def test_a_better_picture_of_another_stream_takes_over(workspace: Workspace, tmp_path: Path) -> None:
    soft = [noise(7) // 2 + 60]
    go(workspace, write_pictures(tmp_path / "a", soft))
    assert rows(workspace, schemas.CURATION)["keep"].to_list() == [True]
    go(workspace, write_pictures(tmp_path / "b", [noise(7)]), settings=["duplicates.hamming=10"])
    go(workspace, tmp_path / "a", tmp_path / "b", settings=["duplicates.hamming=10"])
    found = rows(workspace, schemas.CURATION).select("stream_id", "keep").rows()
    assert found == [("a", False), ("b", True)]
