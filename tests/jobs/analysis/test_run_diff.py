from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from jobs.analysis.run_diff import parameters, run_diff
from jobs.core.errors import UserError
from jobs.runs import replay
from jobs.runs.run import run
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.helpers import SMALL, go

N = SMALL.planted.n_files


def test_only_settings_that_affect_results_are_compared() -> None:
    one = '{"unit_frames": 8, "resources": {"num_cpus": 2}, "blur": {"method": "acutance"}, "stages": ["idle"]}'
    other = '{"unit_frames": 9, "resources": {"num_cpus": 3}, "blur": {"method": "tenengrad"}, "stages": ["idle"]}'
    assert parameters(one, other) == {"blur.method": ["acutance", "tenengrad"]}


@pytest.mark.usefixtures("engine")
def test_two_runs_are_compared_each_at_its_versions(workspace: Workspace, sample_folder: Path) -> None:
    first = go(workspace, sample_folder)
    same = go(workspace, sample_folder)
    store = Store(workspace.root)
    assert run_diff(store, first.job_id, same.job_id)["same"]
    strict = run(replay.replay(workspace, first.job_id, "idle", ["curation.dark_mean=200", "idle.min_frames=31"]))
    found = run_diff(store, first.job_id, strict.job_id)
    assert not found["same"]
    assert found["runs"] == [first.job_id, strict.job_id]
    assert set(found["parameters"]) == {"curation.dark_mean", "idle.min_frames"}
    assert [name for name, stage in found["stages"].items() if stage["differing"]] == ["idle", "curation"]
    assert found["stages"]["idle"]["gone"] == 1
    assert found["stages"]["quality"]["same_rows"]
    curation = found["stages"]["curation"]
    assert curation["verdicts"]["newly_dropped"]["dark"] == curation["verdicts"]["newly_dropped"]["frames"] > 0
    # Another blur score is another number in every row, or, with that much tolerance, in none.
    scored = run(replay.replay(workspace, first.job_id, "quality", ["blur.method=tenengrad"]))
    assert run_diff(store, first.job_id, scored.job_id)["stages"]["quality"]["columns"]["sharpness"] == N - 2
    assert run_diff(store, first.job_id, scored.job_id, tolerance=1e9)["stages"]["quality"]["differing"] == 0


@pytest.mark.usefixtures("engine")
def test_a_run_that_did_not_finish_has_no_rows_to_compare(workspace: Workspace, sample_folder: Path) -> None:
    first = go(workspace, sample_folder)
    paused = run(replace(replay.of_job(workspace, first.job_id), pause_after="measure"))
    with pytest.raises(UserError, match="only a finished run can be read"):
        run_diff(Store(workspace.root), first.job_id, paused.job_id)


@pytest.mark.usefixtures("engine")
def test_a_missing_file_is_not_blamed_on_vacuum(workspace: Workspace, sample_folder: Path) -> None:
    first = go(workspace, sample_folder)
    then = go(workspace, sample_folder, settings=["curation.dark_mean=200"])
    (lost,) = {p for p in Path(workspace.root).glob("curation/*/*.parquet") if p.stat().st_mtime_ns < then.started_ns}
    lost.unlink()
    store = Store(workspace.root)
    with pytest.raises(UserError, match=f"{lost}, which is not there, and which `winnow tables vacuum` never deletes"):
        run_diff(store, first.job_id, then.job_id)
    with pytest.raises(UserError, match="which `winnow tables vacuum` never deletes; bring it back from a backup"):
        View.of(workspace, run=first.job_id).sql("SELECT * FROM curation")
