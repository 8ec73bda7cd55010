"""What is recomputed when frames are touched, replaced, added and taken away."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import polars as pl
import pytest

import schemas
from jobs.ingest.catalogue import IngestOverrides
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.helpers import (
    SMALL,
    STAGE_TABLES,
    assert_one_live_row,
    computed,
    copy_stream,
    go,
    planned,
    reads,
    rows,
    write_noise_stream,
)

pytestmark = pytest.mark.usefixtures("engine")

N = SMALL.planted.n_files


@pytest.fixture
def cam(tmp_path: Path, sample_folder: Path) -> Path:
    """A copy of the sample that a test may change."""
    return copy_stream(sample_folder, tmp_path / "cam")


def test_touched_files_are_hashed_and_nothing_else(workspace: Workspace, cam: Path) -> None:
    go(workspace, cam)
    before = {t.name: rows(workspace, t) for t in STAGE_TABLES if t.name != "frames"}
    for number in (1, 2, 50):
        os.utime(cam / f"image_{number}.jpg", ns=(0, 1_600_000_000_000_000_001 + number))
    plan = planned(workspace, cam)
    assert all(f.compute == 0 for f in plan.values())
    assert plan["frames"].verify == 3
    record = go(workspace, cam)
    assert computed(record) == {}
    assert {name: o.verified for name, o in record.outcomes.items()} == {n: f.verify for n, f in plan.items()}
    assert {n: o.reused for n, o in record.outcomes.items()} == dict.fromkeys(record.outcomes, N) | {
        "duplicates": N - len(SMALL.planted.corrupt)
    }
    assert record.summary()["stages"]["frames"]["verified"] == 3
    assert reads(record) == (3, 0)
    assert {t.name: rows(workspace, t) for t in STAGE_TABLES if t.name != "frames"}.keys() == before.keys()
    for name, frame in before.items():
        assert rows(workspace, schemas.BY_NAME[name]).equals(frame), name
    assert computed(go(workspace, cam)) == {}


def test_a_replaced_image_changes_its_own_and_dependent_rows(workspace: Workspace, cam: Path) -> None:
    go(workspace, cam)
    shutil.copy(cam / "image_5.jpg", cam / "image_20.jpg")
    record = go(workspace, cam)
    assert computed(record) == {
        "frames": 1,
        "quality": 1,
        "fingerprints": 1,
        "motion": 2,
        "scenes": N,
        "idle": N,
        "duplicates": 1,
        "curation": N,
    }
    found = View.of(workspace).lazy("curated").filter(pl.col("frame_idx") == 20).collect()
    assert found["reasons"].to_list() == [["exact_duplicate"]]
    assert_one_live_row(workspace)
    fresh = Workspace.at(workspace.root.parent / "fresh")
    go(fresh, cam)
    # Groups may differ, since they depend on the order in which frames arrived between runs.
    for table in (schemas.FRAMES, schemas.QUALITY, schemas.FINGERPRINTS, schemas.MOTION):
        drop = ["stat_id"]
        left, right = (rows(w, table, [n for n in drop if n in table.arrow_schema.names]) for w in (workspace, fresh))
        assert left.equals(right), table.name


def test_an_image_replaced_after_a_run_of_fewer_stages_is_recomputed_by_all(workspace: Workspace, cam: Path) -> None:
    go(workspace, cam)
    shutil.copy(cam / "image_5.jpg", cam / "image_20.jpg")
    assert computed(go(workspace, cam, settings=["stages=[frames]"])) == {"frames": 1}
    found = computed(go(workspace, cam))
    assert {n: found[n] for n in ("quality", "fingerprints", "motion")} == {
        "quality": 1,
        "fingerprints": 1,
        "motion": 2,
    }
    assert_one_live_row(workspace)


def test_a_replacement_of_the_same_size_and_mtime_is_noticed_by_rereading(workspace: Workspace, cam: Path) -> None:
    go(workspace, cam)
    frame, dark = cam / "image_20.jpg", cam / f"image_{min(SMALL.planted.dark)}.jpg"
    then = frame.stat()
    # Decoders leave alone what comes after an image.
    frame.write_bytes(dark.read_bytes().ljust(then.st_size, b"\0"))
    os.utime(frame, ns=(then.st_atime_ns, then.st_mtime_ns))
    assert frame.stat().st_size == then.st_size
    assert computed(go(workspace, cam)) == {}
    reread = IngestOverrides(reread=True)
    assert planned(workspace, cam, overrides=reread)["frames"].verify == N
    record = go(workspace, cam, overrides=reread)
    assert {n: c for n, c in computed(record).items() if n != "duplicates"} == {
        "frames": 1, "quality": 1, "fingerprints": 1, "motion": 2, "scenes": N, "idle": N, "curation": N,
    }  # fmt: skip
    assert record.outcomes["frames"].verified == N - 1
    assert computed(go(workspace, cam, overrides=reread)) == {}


def test_swapped_images_are_recomputed(workspace: Workspace, cam: Path) -> None:
    go(workspace, cam)
    (cam / "image_5.jpg").rename(cam / "swap.tmp")
    (cam / "image_6.jpg").rename(cam / "image_5.jpg")
    (cam / "swap.tmp").rename(cam / "image_6.jpg")
    found = computed(go(workspace, cam))
    assert (found["quality"], found["motion"]) == (2, 3)


def test_appended_frames_are_computed_alone(workspace: Workspace, tmp_path: Path) -> None:
    cam = write_noise_stream(tmp_path / "cam", range(40))
    go(workspace, cam, settings=["unit_frames=16"])
    write_noise_stream(cam, range(100, 110), start=40)
    record = go(workspace, cam, settings=["unit_frames=16"])
    found = computed(record)
    assert {n: found[n] for n in ("frames", "quality", "motion")} == {"frames": 10, "quality": 10, "motion": 10}
    # The last old frame is read once more: motion compares the first new one with it.
    assert reads(record) == (11, 11)


def test_a_filled_gap_gives_the_next_frame_its_motion(workspace: Workspace, tmp_path: Path) -> None:
    cam = write_noise_stream(tmp_path / "cam", range(20))
    held = (cam / "image_10.jpg").read_bytes()
    (cam / "image_10.jpg").unlink()
    go(workspace, cam)
    assert rows(workspace, schemas.MOTION)["motion"].null_count() == 2
    (cam / "image_10.jpg").write_bytes(held)
    found = computed(go(workspace, cam))
    assert (found["frames"], found["motion"]) == (1, 2)
    assert rows(workspace, schemas.MOTION)["motion"].null_count() == 1


def test_vanished_frames_take_their_rows_with_them(workspace: Workspace, cam: Path) -> None:
    go(workspace, cam)
    for number in (3, 30, 100):
        (cam / f"image_{number}.jpg").unlink()
    assert planned(workspace, cam)["frames"].remove == 3
    record = go(workspace, cam)
    assert record.outcomes["frames"].removed == 3
    for table in STAGE_TABLES:
        if table.per_frame:
            assert not set(rows(workspace, table)["frame_idx"]) & {3, 30, 100}, table.name
    assert rows(workspace, schemas.FRAMES).height == N - 3
    assert computed(go(workspace, cam)) == {}
