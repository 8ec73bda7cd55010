from __future__ import annotations

from pathlib import Path

import pytest

import schemas
from conf import PipelineConfig
from jobs.core.errors import RunStopped
from jobs.engine.ray_engine import Engine
from jobs.ingest import catalogue as catalogue_module
from jobs.ingest.catalogue import IngestOverrides, catalogue
from jobs.passes import pixel_plan
from jobs.passes.pixel_plan import Listed, Planner
from jobs.stages.build import build
from jobs.storage import stream_batches
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from tests.helpers import SMALL, assert_same_tables, computed, copy_stream, go, rows, write_noise_stream
from transforms.frames.numbering import IngestParams

pytestmark = pytest.mark.usefixtures("engine")


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at sixteen frames at a time, so that streams span many windows and windows hold several streams."""
    look_at_few(monkeypatch)


def look_at_few(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (pixel_plan, catalogue_module, stream_batches):
        monkeypatch.setattr(module, "WINDOW", 16)


def test_results_do_not_depend_on_windows(
    workspace: Workspace, tmp_path: Path, sample_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = [write_noise_stream(tmp_path / f"few{i}", range(i * 10, i * 10 + 5)) for i in range(4)]
    go(workspace, sample_folder, *few)
    look_at_few(monkeypatch)
    other = Workspace.at(tmp_path / "other")
    go(other, sample_folder, *few)
    assert_same_tables(workspace, other)
    assert computed(go(other, sample_folder, *few)) == {}


@pytest.mark.usefixtures("small_windows")
def test_changes_at_the_borders_of_windows(workspace: Workspace, tmp_path: Path) -> None:
    cam = write_noise_stream(tmp_path / "cam", range(50))
    go(workspace, cam)
    # Frames 16 and 32 begin a window each; 15 and 31 end one; 48 and 49 are the last.
    for number in (15, 16, 31, 49):
        (cam / f"image_{number}.jpg").unlink()
    write_noise_stream(cam, [900], start=32)
    record = go(workspace, cam)
    assert record.outcomes["frames"].removed == 4
    # Frames 17 and 32 follow a gap now, and 33 follows another image.
    assert {n: computed(record)[n] for n in ("frames", "quality", "motion")} == {"frames": 1, "quality": 1, "motion": 3}
    fresh = Workspace.at(tmp_path / "fresh")
    go(fresh, cam)
    for table in (schemas.FRAMES, schemas.QUALITY, schemas.FINGERPRINTS, schemas.MOTION, schemas.IDLE):
        assert rows(workspace, table).equals(rows(fresh, table)), table.name


@pytest.mark.usefixtures("small_windows")
def test_rows_without_a_frame_are_counted_once(workspace: Workspace, tmp_path: Path) -> None:
    cam = write_noise_stream(tmp_path / "cam", range(100))
    go(workspace, cam)
    gone = [0, 14, 15, 16, 17, 47, 48, 98, 99]
    for number in gone:
        (cam / f"image_{number}.jpg").unlink()
    record = go(workspace, cam)
    assert {n: o.removed for n, o in record.outcomes.items() if o.removed} == dict.fromkeys(
        ("frames", "quality", "fingerprints", "motion"), len(gone)
    )
    assert rows(workspace, schemas.MOTION).height == 100 - len(gone)


@pytest.mark.usefixtures("small_windows")
def test_listings_in_memory_and_in_the_table_give_one_plan(
    workspace: Workspace, sample_folder: Path, tmp_path: Path
) -> None:
    cam = copy_stream(sample_folder, tmp_path / "cam")
    go(workspace, cam, limit=40)
    store = Store(workspace.root)
    stages = build(PipelineConfig())
    (files,) = catalogue([str(cam)], IngestParams(), IngestOverrides(), store)
    stored = Planner(store, stages, [Listed("cam", 1, files.n_frames)])
    held = Planner(store, stages, [Listed.of(files)])
    assert stored.survey().counts == held.survey().counts
    assert sum(t.num_rows for t in stored.todo()) == sum(t.num_rows for t in held.todo()) > 0


@pytest.mark.usefixtures("small_windows")
def test_planning_of_many_frames_can_be_interrupted(workspace: Workspace, sample_folder: Path) -> None:
    go(workspace, sample_folder)
    n_looks = 0

    def leave() -> None:
        nonlocal n_looks
        n_looks += 1
        if n_looks == 2:
            raise RunStopped("paused")

    planner = Planner(
        Store(workspace.root), build(PipelineConfig()), [Listed(sample_folder.name, 1, SMALL.planted.n_files)]
    )
    # There is nothing to do, and so nothing to report of a window.
    with pytest.raises(RunStopped):
        planner.survey(leave)


@pytest.fixture(autouse=True)
def _engine(engine: Engine) -> Engine:
    return engine
