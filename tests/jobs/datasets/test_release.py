from __future__ import annotations

import os
import shutil
from pathlib import Path

import polars as pl
import pytest

import schemas
from jobs.core.errors import UserError
from jobs.datasets import release
from jobs.storage import maintenance
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.helpers import copy_stream, go, problems, winnow, write_noise_stream

pytestmark = pytest.mark.usefixtures("engine")

# More than the last runs that vacuum spares by themselves, which are five here; `make faults` has two hundred.
LATER_RUNS = int(os.environ.get("WINNOW_LATER_RUNS", "8"))


def snapshot(workspace: Workspace, name: str) -> dict[str, pl.DataFrame]:
    view = View.of(workspace, release=name)
    tables = (t.name for t in schemas.ALL if t.has_stage_key)
    return {t: view.lazy(t).collect().sort(schemas.BY_NAME[t].file_key) for t in (*tables, "listing", "streams") if t}


def test_a_release_shows_the_tables_at_its_creation(workspace: Workspace, sample_folder: Path, tmp_path: Path) -> None:
    cam = copy_stream(sample_folder, tmp_path / "cam")
    go(workspace, cam)
    store = Store(workspace.root)
    release.create(store, "v1", note="first")
    before = snapshot(workspace, "v1")
    shutil.copy(cam / "image_5.jpg", cam / "image_20.jpg")
    (cam / "image_30.jpg").unlink()
    go(workspace, cam, settings=["curation.ignore=[dark, blurry, low_information]"])
    after = snapshot(workspace, "v1")
    assert all(after[name].equals(frame) for name, frame in before.items())
    release.create(store, "v2")
    found = release.difference(View.of(workspace, release="v1"), View.of(workspace, release="v2"))
    assert (found.added, found.gone, found.changed) == (0, 1, 1)
    # Dark and blurred frames are let in; the replaced image repeats another now.
    assert found.newly_kept >= 10
    assert found.newly_dropped_for == {"exact_duplicate": 1}
    assert found.kept_after - found.kept_before == found.newly_kept - found.newly_dropped - _kept_and_gone(before)


def _kept_and_gone(before: dict[str, pl.DataFrame]) -> int:
    return int(before["curation"].filter(pl.col("frame_idx") == 30)["keep"].sum())


def test_a_release_of_a_run_is_that_run(workspace: Workspace, sample_folder: Path) -> None:
    first = go(workspace, sample_folder)
    go(workspace, sample_folder, settings=["curation.dark_mean=0", "curation.dark_p95=0"])
    release.create(Store(workspace.root), "old", run=first.job_id)
    dark = View.of(workspace, release="old").sql("SELECT count(*) FROM curation WHERE list_contains(reasons, 'dark')")
    assert dark.column(0)[0].as_py() == 6


@pytest.mark.slow
def test_a_release_survives_optimize_vacuum_and_later_runs(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "KEPT_RUNS", 5)
    cam = write_noise_stream(tmp_path / "cam", range(30))
    go(workspace, cam)
    store = Store(workspace.root)
    release.create(store, "v1")
    before = snapshot(workspace, "v1")
    for number in range(LATER_RUNS):
        write_noise_stream(cam, [number + 100], start=30 + number)
        go(workspace, cam, settings=[f"curation.dark_mean={number}"])
    for table in schemas.ALL:
        maintenance.compact(store, table, "optimize")
    deleted = [path for change in maintenance.vacuum(store, "vacuum", retention_hours=0) for path in change.deleted]
    assert deleted
    after = snapshot(workspace, "v1")
    assert all(after[name].equals(frame) for name, frame in before.items())
    assert View.of(workspace).lazy("frames").collect().height == 30 + LATER_RUNS


def test_release_names_are_unique_and_valid(workspace: Workspace, tmp_path: Path) -> None:
    store = Store(workspace.root)
    workspace.create()
    store.create_tables()
    with pytest.raises(UserError, match="nothing to release yet"):
        release.create(store, "v1")
    go(workspace, write_noise_stream(tmp_path / "cam", range(3)))
    release.create(store, "v1")
    with pytest.raises(UserError, match="'v1' exists"):
        release.create(store, "v1")
    with pytest.raises(UserError, match="expected letters"):
        release.create(store, "a b")
    with pytest.raises(UserError, match=r"there is no release 'v2'; there are: v1"):
        View.of(workspace, release="v2")


def test_a_release_of_some_streams_has_only_these(workspace: Workspace, tmp_path: Path) -> None:
    for name, seeds in (("a", [1, 2]), ("b", [3]), ("c", [4])):
        go(workspace, write_noise_stream(tmp_path / name, seeds))
    store = Store(workspace.root)
    release.create(store, "two", streams=["a", "c"])
    view = View.of(workspace, release="two")
    assert view.selection.streams == ["a", "c"]
    assert sorted(view.lazy("curated").collect()["stream_id"].to_list()) == ["a", "a", "c"]
    with pytest.raises(UserError, match="there is no stream 'gate'; there are: a, b, c"):
        release.create(store, "none", streams=["a", "gate"])
    with pytest.raises(UserError, match="found none"):
        release.create(store, "none", streams=[])
    assert [row["name"] for row in store.read(schemas.RELEASES).to_pylist()] == ["two"]
    assert release.free_name(store) == "v1"


def test_a_deleted_release_leaves_splits_exports_and_other_releases(workspace: Workspace, tmp_path: Path) -> None:
    go(workspace, write_noise_stream(tmp_path / "cam", range(30)))
    place = ("-w", workspace.root)
    for name in ("v1", "v2"):
        assert winnow("release", "create", name, *place).exit_code == 0
    split = ("--split", "train=0.8,val=0.2")
    out = tmp_path / "v1-coco"
    assert winnow("export", "--format", "coco", "--release", "v1", "--out", out, *split, *place).exit_code == 0
    files = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    given = Store(workspace.root).read(schemas.SPLITS)
    before = snapshot(workspace, "v2")

    refused = problems(winnow("release", "delete", "v1", *place))
    assert refused == ["release v1 is not deleted: expected --yes, since nobody can be asked here"]
    assert problems(winnow("release", "delete", "v3", "--yes", *place)) == [
        "there is no release 'v3'; there are: v1, v2"
    ]
    deleted = winnow("release", "delete", "v1", "--yes", *place)
    assert deleted.exit_code == 0
    assert f"{given.num_rows} frames have their splits from an export of it, and keep them" in deleted.stdout
    store = Store(workspace.root)
    maintenance.vacuum(store, "vacuum", retention_hours=0)
    assert store.read(schemas.RELEASES)["name"].to_pylist() == ["v2"]
    assert store.read(schemas.SPLITS).sort_by("frame_idx").equals(given.sort_by("frame_idx"))
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == files
    assert all(table.equals(snapshot(workspace, "v2")[name]) for name, table in before.items())
    # The name is free, and frames go where they went before.
    assert winnow("release", "create", "v1", *place).exit_code == 0
    again = tmp_path / "again"
    assert winnow("export", "--format", "coco", "--release", "v1", "--out", again, *split, *place).exit_code == 0
    for name in ("annotations/instances_train.json", "annotations/instances_val.json"):
        assert (again / name).read_bytes() == (out / name).read_bytes()
