"""Runs that descend from others: what they compute, what they leave alone, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

import schemas
from conf import load
from jobs.analysis.inspect_tables import runs
from jobs.core.errors import UserError
from jobs.engine.ray_engine import Engine
from jobs.ingest.catalogue import IngestOverrides
from jobs.records.run_record import RunRecord
from jobs.runs import replay
from jobs.runs.run import RunRequest, run
from jobs.storage.store import Drop, Store
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.helpers import SMALL, assert_one_live_row, computed, copy_stream, go, rows, write_noise_stream

pytestmark = pytest.mark.usefixtures("engine")

N = SMALL.planted.n_files


@pytest.fixture(scope="module")
def parent(
    tmp_path_factory: pytest.TempPathFactory, sample_folder: Path, engine: Engine
) -> tuple[Workspace, RunRecord, Path]:
    """A workspace in which a copy of the sample was run."""
    root = tmp_path_factory.mktemp("parent")
    cam = copy_stream(sample_folder, root / "cam")
    workspace = Workspace.at(root / "tables")
    return workspace, go(workspace, cam), cam


def heads(workspace: Workspace) -> set[tuple[str, str]]:
    found = Store(workspace.root).read(schemas.HEADS).to_pylist()
    return {(row["stage"], row["stage_key"]) for row in found}


def test_recorded_run_options_are_read_back(workspace: Workspace) -> None:
    request = RunRequest(
        workspace,
        ["a", "b"],
        load(settings=["blur.method=tenengrad"]),
        IngestOverrides(("x", "y"), rebind=True),
        limit=3,
        on_error="abort",
    )
    text = json.dumps(request.as_data())
    assert replay.from_data(workspace, json.loads(text)) == request


def test_a_replay_computes_from_its_stage_on_and_moves_no_head(parent: tuple[Workspace, RunRecord, Path]) -> None:
    workspace, record, _ = parent
    before = heads(workspace)
    request = replay.replay(workspace, record.job_id, "curation", ["curation.dark_mean=200"])
    child = run(request)
    assert (child.state, child.parent) == ("done", record.job_id)
    assert computed(child) == {"curation": N}
    assert child.outcomes["quality"].reused == N
    assert heads(workspace) == before
    assert rows(workspace, schemas.CURATION)["keep"].sum() > 0
    read = View.of(workspace, run=child.job_id).lazy("curation").collect()
    assert read["keep"].sum() == 0
    (listed,) = [row for row in runs(Store(workspace.root)) if row["job_id"] == child.job_id]
    assert listed["asked"] == "replay --from curation"
    assert listed["changed"] == {"curation.dark_mean": [32.0, 200.0]}
    # Its own child, back to the settings of before: nothing is left to compute.
    grandchild = run(replay.replay(workspace, child.job_id, "curation", ["curation.dark_mean=32"]))
    assert computed(grandchild) == {}


def test_a_promoted_replay_of_a_pixel_stage_measures_only_it_and_moves_the_heads(
    parent: tuple[Workspace, RunRecord, Path], tmp_path: Path
) -> None:
    workspace, record, _ = parent
    request = replay.replay(workspace, record.job_id, "quality", ["blur.method=tenengrad"], promote=True)
    child = run(request)
    assert computed(child) == {"quality": N, "curation": N}
    shown = dict(heads(workspace))
    assert shown["quality"] == next(s.key for s in child.stages if s.name == "quality")
    assert_one_live_row(workspace)
    run(replay.replay(workspace, record.job_id, "quality", promote=True))
    assert heads(workspace) == {(s.name, s.key) for s in record.stages}


def test_a_replay_needs_no_frames_on_disk(tmp_path: Path) -> None:
    workspace = Workspace.at(tmp_path / "tables")
    cam = write_noise_stream(tmp_path / "cam", range(6))
    record = go(workspace, cam)
    cam.rename(tmp_path / "away")
    child = run(replay.replay(workspace, record.job_id, "duplicates", ["duplicates.hamming=2"]))
    assert computed(child) == {"duplicates": 6, "curation": 6}


def test_settings_that_reach_above_are_refused_all_at_once(parent: tuple[Workspace, RunRecord, Path]) -> None:
    workspace, record, _ = parent
    settings = ["duplicates.hamming=2", "blur.method=tenengrad", "ingest.fps=3"]
    with pytest.raises(UserError) as refused:
        replay.replay(workspace, record.job_id, "curation", settings)
    assert refused.value.problems == [
        "--set ingest.fps=3.0: a replay takes the frames that its parent took; use winnow run instead",
        "--set blur.method changes stage quality, which is above --from curation; use --from quality",
        "--set duplicates.hamming changes stage duplicates, which is above --from curation; use --from duplicates",
    ]
    with pytest.raises(UserError, match=r"unknown key 'curation\.dork_mean'"):
        replay.replay(workspace, record.job_id, "curation", ["curation.dork_mean=1"])
    with pytest.raises(UserError, match="stage 'verdicts' is not part of the job"):
        replay.replay(workspace, record.job_id, "verdicts")
    with pytest.raises(UserError, match="no stage 'verdicts'; it has frames, quality"):
        replay.recompute_stage(workspace, record.job_id, "verdicts")
    with pytest.raises(UserError, match="is in quarantine"):
        replay.retry_quarantined(workspace, record.job_id)


@pytest.mark.parametrize("stage", ["frames", "motion", "scenes", "duplicates"])
def test_recomputing_a_stage_gives_the_same_rows(parent: tuple[Workspace, RunRecord, Path], stage: str) -> None:
    workspace, record, _ = parent
    before = rows(workspace, schemas.BY_NAME[stage])
    child = run(replay.recompute_stage(workspace, record.job_id, stage))
    assert computed(child) == {stage: N - 2 if stage == "duplicates" else N}
    assert (child.counts["rows"], child.counts["rows_changed"]) == (before.height, 0)
    assert child.outcomes["curation"].state == "skipped"
    assert rows(workspace, schemas.BY_NAME[stage]).equals(before)
    assert_one_live_row(workspace)


def test_recomputing_a_stage_fixes_wrong_rows(parent: tuple[Workspace, RunRecord, Path]) -> None:
    workspace, record, _ = parent
    store = Store(workspace.root)
    for name, column, value in (("quality", "luma_mean", 1.0), ("curation", "keep", False)):
        table = schemas.BY_NAME[name]
        right = rows(workspace, table)
        wrong = right.filter(pl.col("frame_idx").is_in([3, 4])).with_columns(
            pl.lit(value).cast(right.schema[column]).alias(column)
        )
        arrow = wrong.select(table.arrow_schema.names).to_arrow().cast(table.arrow_schema)
        store.upsert(table, arrow, "test", Drop(wrong["stage_key"][0], keys=arrow.select(list(table.file_key))))
        assert not rows(workspace, table).equals(right)
        child = run(replay.recompute_stage(workspace, record.job_id, name))
        assert child.counts["rows_changed"] == 2
        assert rows(workspace, table).equals(right)
    assert_one_live_row(workspace)


def test_only_quarantined_frames_are_retried(tmp_path: Path) -> None:
    workspace = Workspace.at(tmp_path / "tables")
    cam = write_noise_stream(tmp_path / "cam", range(12))
    held = {}
    for number in (0, 5, 11):
        held[number] = (cam / f"image_{number}.jpg").read_bytes()
        (cam / f"image_{number}.jpg").unlink()
        (cam / f"image_{number}.jpg").symlink_to(tmp_path / "nowhere.jpg")
    record = go(workspace, cam)
    for number in (0, 5):
        (cam / f"image_{number}.jpg").unlink()
        (cam / f"image_{number}.jpg").write_bytes(held[number])
    child = run(replay.retry_quarantined(workspace, record.job_id))
    found = computed(child)
    assert {n: found[n] for n in ("frames", "quality", "fingerprints", "motion")} == {
        "frames": 2,
        "quality": 2,
        "fingerprints": 2,
        "motion": 4,
    }
    assert {n: o.quarantined for n, o in child.outcomes.items() if o.quarantined} == dict.fromkeys(
        ("frames", "quality", "fingerprints", "motion"), 1
    )
    assert rows(workspace, schemas.CURATION).height == 11
    quarantine = View.of(workspace).lazy("quarantine").collect()
    assert set(quarantine["frame_idx"]) == {11}
    assert set(quarantine["attempts"]) == {2}
    assert_one_live_row(workspace)
    whole = Workspace.at(tmp_path / "whole")
    (cam / "image_11.jpg").unlink()
    (cam / "image_11.jpg").write_bytes(held[11])
    run(replay.retry_quarantined(workspace, record.job_id))
    go(whole, cam)
    for table in (schemas.QUALITY, schemas.MOTION, schemas.FINGERPRINTS):
        assert rows(workspace, table).equals(rows(whole, table)), table.name


def test_a_replay_that_was_paused_is_resumed_as_one(parent: tuple[Workspace, RunRecord, Path]) -> None:
    workspace, record, _ = parent
    request = replay.replay(workspace, record.job_id, "scenes")
    child = run(replace(request, pause_after="idle"))
    assert child.state == "paused"
    again = run(replay.of_job(workspace, child.job_id), job_id=child.job_id)
    assert (again.state, again.parent, again.stages) == ("done", record.job_id, child.stages)
