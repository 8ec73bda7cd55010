"""What is computed, and what is not, on every kind of run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import schemas
from conf import PipelineConfig, load
from jobs.demo import compare
from jobs.engine import lazy_engine
from jobs.engine.ray_engine import Engine
from jobs.ingest.catalogue import IngestOverrides
from jobs.records.job_log import JobLog, jobs_of
from jobs.records.run_events import SilentListener
from jobs.runs.prepare import RunRequest
from jobs.runs.run import run
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.helpers import (
    SMALL,
    STAGE_TABLES,
    assert_one_live_row,
    assert_same_tables,
    computed,
    copy_stream,
    go,
    noise,
    planned,
    reads,
    rows,
    write_noise_stream,
)

pytestmark = pytest.mark.usefixtures("engine")

N = SMALL.planted.n_files
N_DECODABLE = N - len(SMALL.planted.corrupt)
ALL = dict.fromkeys(PipelineConfig().closed_stages, N) | {"duplicates": N_DECODABLE}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, sample_folder: Path, engine: Engine) -> Workspace:
    """A workspace in which the sample was run; read only."""
    workspace = Workspace.at(tmp_path_factory.mktemp("done") / "tables")
    go(workspace, sample_folder)
    return workspace


@pytest.fixture
def cam(tmp_path: Path, sample_folder: Path) -> Path:
    """A copy of the sample that a test may change."""
    return copy_stream(sample_folder, tmp_path / "cam")


def test_all_planted_defects_are_found_and_no_others(done: Workspace) -> None:
    for check in compare(View.of(done), "cam", SMALL.planted):
        assert (check.found, check.extra) == (check.planted, 0), check.what
        # Nothing passes before the camera of this one.
        assert (check.planted > 0) == (check.what != "moving things"), check.what


def test_a_first_run_reads_and_decodes_each_frame_once(workspace: Workspace, sample_folder: Path) -> None:
    record = go(workspace, sample_folder, settings=["unit_frames=4096", "resources.block_frames=4096"])
    assert record.state == "done"
    assert computed(record) == ALL
    # One block per core, so that one frame is read a second time as the predecessor of a block's first.
    assert reads(record)[0] <= N + 2
    assert reads(record)[1] <= N_DECODABLE + 2
    assert_one_live_row(workspace)


def test_frames_in_are_rows_out(done: Workspace) -> None:
    for table in (schemas.BY_NAME[stage] for stage in PipelineConfig().closed_stages):
        if table.name == "scenes":
            assert rows(done, table)["n_frames"].sum() == N
            continue
        expected = {"idle": 1, "duplicates": N_DECODABLE}.get(table.name, N)
        assert rows(done, table).height == expected, table.name


def test_a_second_run_computes_nothing_and_says_so(workspace: Workspace, sample_folder: Path) -> None:
    first = go(workspace, sample_folder)
    assert planned(workspace, sample_folder) == {}
    before = {t.name: Store(workspace.root).open(t).version for t in STAGE_TABLES}
    second = go(workspace, sample_folder)
    assert computed(second) == {}
    assert reads(second) == (0, 0)
    assert {n: o.reused for n, o in second.outcomes.items()} == ALL
    assert {t.name: Store(workspace.root).open(t).version for t in STAGE_TABLES} == before
    assert second.job_id != first.job_id


def test_a_changed_threshold_reads_no_frame(workspace: Workspace, sample_folder: Path) -> None:
    go(workspace, sample_folder)
    plan = planned(workspace, sample_folder, settings=("curation.dark_mean=20",))
    assert {n: f.reasons for n, f in plan.items()} == {"curation": {"params changed: curation.dark_mean": N}}
    record = go(workspace, sample_folder, settings=["curation.dark_mean=20"])
    assert computed(record) == {"curation": N}
    assert reads(record) == (0, 0)


def test_a_changed_blur_method_recomputes_quality_and_curation_alone(workspace: Workspace, sample_folder: Path) -> None:
    go(workspace, sample_folder)
    plan = planned(workspace, sample_folder, settings=("blur.method=tenengrad",))
    assert {n: f.compute for n, f in plan.items()} == {"quality": N, "curation": N}
    assert plan["quality"].reasons == {"params changed: blur.method": N}
    record = go(workspace, sample_folder, settings=["blur.method=tenengrad"])
    assert computed(record) == {"quality": N, "curation": N}
    assert reads(record) == (N, N_DECODABLE)


def test_returning_to_an_earlier_configuration_computes_nothing(workspace: Workspace, sample_folder: Path) -> None:
    go(workspace, sample_folder)
    kept = rows(workspace, schemas.CURATION)
    go(workspace, sample_folder, settings=["blur.method=tenengrad", "curation.dark_mean=20"])
    assert not rows(workspace, schemas.CURATION).equals(kept)
    assert computed(go(workspace, sample_folder)) == {}
    assert rows(workspace, schemas.CURATION).equals(kept)


def test_a_run_of_fewer_stages_leaves_the_rest_to_later_runs(
    workspace: Workspace, done: Workspace, sample_folder: Path
) -> None:
    first = go(workspace, sample_folder, settings=["stages=[quality]"])
    assert computed(first) == {"frames": N, "quality": N}
    second = go(workspace, sample_folder)
    assert computed(second) == {name: n for name, n in ALL.items() if name not in {"frames", "quality"}}
    assert_same_tables(workspace, done)


def test_a_limit_measures_so_many_frames_and_the_next_run_the_rest(
    workspace: Workspace, done: Workspace, sample_folder: Path
) -> None:
    assert computed(go(workspace, sample_folder, limit=30))["frames"] == 30
    assert computed(go(workspace, sample_folder, limit=0)) == {}
    assert computed(go(workspace, sample_folder))["frames"] == N - 30
    for table in (schemas.FRAMES, schemas.QUALITY, schemas.FINGERPRINTS, schemas.MOTION, schemas.IDLE):
        assert rows(workspace, table).equals(rows(done, table)), table.name


def test_streams_of_several_sizes_and_formats(workspace: Workspace, tmp_path: Path) -> None:
    import cv2

    cam = tmp_path / "cam"
    cam.mkdir()
    for number, extension in enumerate(("jpg", "png", "webp", "bmp", "tiff", "jpeg")):
        picture = noise(number, 90, 160) if number else noise(number, 120, 160)
        cv2.imwrite(str(cam / f"f{number:03}.{extension}"), picture)
    go(workspace, cam)
    frames = rows(workspace, schemas.FRAMES)
    assert frames["format"].to_list() == ["jpeg", "png", "webp", "bmp", "tiff", "jpeg"]
    assert frames["status"].to_list() == ["ok"] * 6
    stream = View.of(workspace).lazy("streams").collect()
    assert stream["sizes"].to_list()[0][0] == {"width": 160, "height": 90, "n_frames": 5}
    assert rows(workspace, schemas.CURATION)["flags"].to_list() == [["odd_size"], [], [], [], [], []]


def test_a_moved_folder_is_bound_again_without_measuring(workspace: Workspace, cam: Path) -> None:
    go(workspace, cam)
    moved = cam.rename(cam.parent / "elsewhere")
    record = go(workspace, moved, overrides=IngestOverrides(("cam",), rebind=True))
    assert computed(record) == {}
    assert record.outcomes["frames"].verified == N
    assert N <= reads(record)[0] < N + 8
    assert reads(record)[1] == 0
    assert rows(workspace, schemas.FRAMES)["uri"].str.contains("elsewhere").all()


def test_unreadable_frames_are_quarantined_and_retried(workspace: Workspace, tmp_path: Path) -> None:
    cam = write_noise_stream(tmp_path / "cam", range(6))
    target = tmp_path / "away.jpg"
    (cam / "image_3.jpg").rename(target)
    (cam / "image_3.jpg").symlink_to(target.with_name("nowhere.jpg"))
    record = go(workspace, cam)
    assert record.state == "done"
    assert {n: o.quarantined for n, o in record.outcomes.items() if o.quarantined} == {
        "frames": 1,
        "quality": 1,
        "fingerprints": 1,
        "motion": 2,
    }
    for stage in ("frames", "quality", "fingerprints", "motion"):
        outcome = record.outcomes[stage]
        assert outcome.frames_in == outcome.computed + outcome.reused + outcome.quarantined
    go(workspace, cam)
    held = View.of(workspace).lazy("quarantine").collect()
    assert held.filter(pl.col("stage") == "frames").select("frame_idx", "error_type", "attempts").rows() == [
        (3, "FileNotFoundError", 2)
    ]
    (cam / "image_3.jpg").unlink()
    target.rename(cam / "image_3.jpg")
    assert computed(go(workspace, cam))["motion"] == 2
    assert View.of(workspace).lazy("quarantine").collect().height == 0


def test_summary_is_one_object_with_what_programs_need(done: Workspace, sample_folder: Path) -> None:
    found = go(done, sample_folder).summary()
    assert found["state"] == "done"
    assert found["frames"] == N
    assert set(found["stages"]) == set(ALL)
    assert {"computed", "reused", "corrupt", "quarantined"} <= set(found["stages"]["frames"])
    assert found["stages"]["frames"]["corrupt"] == 2
    assert found["versions"]["frames"] > 0
    assert {"job_id", "seconds", "frames_per_second"} <= set(found)


def test_runs_and_stage_runs_record_what_happened(done: Workspace) -> None:
    runs = View.of(done).lazy("runs").collect()
    assert set(runs["state"]) == {"done"}
    stages = View.of(done).lazy("stage_runs").filter(pl.col("job_id") == runs["job_id"].min()).collect()
    assert dict(zip(stages["stage"], stages["computed"], strict=True)) == ALL
    assert set(stages["state"]) == {"done"}
    # Small as it is, so that all of it was start-up: no time is one since 1970.
    assert all(0 < seconds < 60 for seconds in stages["seconds"].to_list())


@pytest.fixture(scope="module")
def several(
    tmp_path_factory: pytest.TempPathFactory, sample_folder: Path, engine: Engine
) -> tuple[list[Path], Workspace]:
    """Three streams that share images, and a workspace in which they were run in one go."""
    root = tmp_path_factory.mktemp("several")
    folders = [
        copy_stream(sample_folder, root / "c"),
        write_noise_stream(root / "a", [*range(30), 5, 6, 7], start=250),
        write_noise_stream(root / "b", [40, 5, 41, 6, *range(50, 70)]),
    ]
    workspace = Workspace.at(root / "tables")
    go(workspace, *folders)
    return folders, workspace


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.permutations(range(3)),
    unit_frames=st.integers(1, 300),
    block_frames=st.sampled_from([1, 7, 64, 5000]),
    processes=st.sampled_from([None, 1, 3]),
)
@pytest.mark.slow
def test_results_depend_on_neither_grid_nor_parallelism_nor_order_of_inputs(
    several: tuple[list[Path], Workspace],
    tmp_path_factory: pytest.TempPathFactory,
    order: list[int],
    unit_frames: int,
    block_frames: int,
    processes: int | None,
) -> None:
    folders, expected = several
    workspace = Workspace.at(tmp_path_factory.mktemp("again") / "tables")
    options = [f"unit_frames={unit_frames}", f"resources.block_frames={block_frames}"]
    with pytest.MonkeyPatch.context() as patch:
        if processes:
            # Processes of the run's own, in the place of the session's engine and its two.
            patch.setattr(lazy_engine, "_is_running", lambda: False)
            options.append(f"resources.num_cpus={processes}")
        go(workspace, *(folders[i] for i in order), settings=options)
    assert_same_tables(workspace, expected)


def test_streams_run_one_after_another_have_the_same_measures(
    several: tuple[list[Path], Workspace], workspace: Workspace
) -> None:
    folders, expected = several
    for folder in folders:
        go(workspace, folder)
    for table in (schemas.FRAMES, schemas.QUALITY, schemas.FINGERPRINTS, schemas.MOTION, schemas.IDLE):
        assert rows(workspace, table).equals(rows(expected, table)), table.name


def test_an_interrupt_that_comes_out_as_another_error_is_still_one(workspace: Workspace, tmp_path: Path) -> None:
    class Interrupted(SilentListener):
        def on_stage_started(self, what: str, total: int | None) -> None:
            self.interrupted = True
            raise RuntimeError(f"{what}, {total}: release unlocked lock")

    cam = write_noise_stream(tmp_path / "cam", range(3))
    with pytest.raises(KeyboardInterrupt):
        run(RunRequest(workspace, [str(cam)], load()), Interrupted())
    (record,) = View.of(workspace).lazy("runs").collect().to_dicts()
    assert (record["state"], record["error"]) == ("paused", None)


def test_how_a_run_ended_is_on_record_before_it_leaves_the_engine_which_may_end_its_process(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Cancelled(SilentListener):
        def on_job_claimed(self, job_id: str) -> None:
            JobLog(workspace.root, job_id).add("cancel")

    leave = lazy_engine.LazyEngine.__exit__
    on_record = []

    def leave_and_note(engine: lazy_engine.LazyEngine, *error: Any) -> None:
        (job_id,) = jobs_of(workspace.root)
        state = JobLog(workspace.root, job_id).state()
        on_record.append((state and state.state, rows(workspace, schemas.RUNS)["state"].to_list()))
        leave(engine, *error)

    monkeypatch.setattr(lazy_engine.LazyEngine, "__exit__", leave_and_note)
    cam = write_noise_stream(tmp_path / "cam", range(3))
    assert run(RunRequest(workspace, [str(cam)], load()), Cancelled()).state == "cancelled"
    assert on_record == [("cancelled", ["cancelled"])]
