from __future__ import annotations

import os
import time
from pathlib import Path

import pyarrow as pa
import pytest

import schemas
from conf import OPTIONAL_STAGES
from jobs.core.errors import UserError
from jobs.storage import maintenance
from jobs.storage.data_files import write_part
from jobs.storage.paths import LocalPath
from jobs.storage.store import Change, Drop, Store
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.helpers import SMALL, STAGE_TABLES, computed, go, rows, write_noise_stream

pytestmark = pytest.mark.usefixtures("engine")


def live_files(workspace: Workspace) -> dict[str, int]:
    store = Store(workspace.root)
    return {table.name: len(store.open(table).files) for table in schemas.ALL}


def test_a_finished_run_leaves_one_file_per_stage_table(workspace: Workspace, sample_folder: Path) -> None:
    go(workspace, sample_folder, settings=["unit_frames=8", "resources.block_frames=8"])
    files = live_files(workspace)
    assert {files[t.name] for t in STAGE_TABLES if t.written_by not in OPTIONAL_STAGES} == {1}
    assert max(files.values()) <= 9
    assert rows(workspace, schemas.FRAMES).height == SMALL.planted.n_files


def test_merging_changes_no_row_and_sorts(workspace: Workspace, tmp_path: Path) -> None:
    store = Store(workspace.root)
    for name in ("b", "a"):
        go(workspace, write_noise_stream(tmp_path / name, range(5)))
    before = rows(workspace, schemas.QUALITY)
    change = maintenance.compact(store, schemas.RUNS, "optimize")
    assert change.files_after == 1
    stored = store.open(schemas.QUALITY).read(("stream_id", "frame_idx"), before["stage_key"][0])
    assert stored["stream_id"].to_pylist() == ["a"] * 5 + ["b"] * 5
    assert rows(workspace, schemas.QUALITY).equals(before)


def test_vacuum_drops_stale_configurations_and_spares_the_rest(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "KEPT_RUNS", 2)
    cam = write_noise_stream(tmp_path / "cam", range(5))
    store = Store(workspace.root)
    stale = go(workspace, cam, settings=["image.long_side=320"])
    for _ in range(2):
        go(workspace, cam)
    listed = {c.table: c.stale_keys for c in maintenance.vacuum(store, "v", retention_hours=0, dry_run=True)}
    assert len(listed["quality"]) == 1
    assert len(store.open(schemas.QUALITY).stage_keys()) == 2
    changes = {c.table: c for c in maintenance.vacuum(store, "v", retention_hours=0)}
    assert changes["quality"].stale_keys == listed["quality"]
    assert len(store.open(schemas.QUALITY).stage_keys()) == 1
    # The versions of the last runs still hold the configuration's files; once those runs are old, they go.
    assert changes["quality"].deleted == []
    for _ in range(2):
        last = go(workspace, cam)
    shown = {t.name: rows(workspace, t) for t in STAGE_TABLES}
    changes = {c.table: c for c in maintenance.vacuum(store, "v", retention_hours=0)}
    assert len(changes["quality"].deleted) >= 1
    for table in STAGE_TABLES:
        assert rows(workspace, table).equals(shown[table.name]), table.name
    assert View.of(workspace, run=last.job_id).lazy("quality").collect().height == 5
    with pytest.raises(UserError, match=f"run {stale.job_id} refers to files"):
        View.of(workspace, run=stale.job_id).sql("SELECT sum(laplacian_var) FROM quality")


def test_vacuum_deletes_orphans_once_they_are_old(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(workspace, write_noise_stream(tmp_path / "cam", range(5)))
    store = Store(workspace.root)
    orphans = [workspace.folder / "quality" / f"stage_key=x/{age}.parquet" for age in ("young", "old")]
    orphans[0].parent.mkdir()
    for path in orphans:
        path.write_bytes(b"left behind by a worker that was killed")
    day_before = time.time() - 25 * 3600
    os.utime(orphans[1], (day_before, day_before))
    with monkeypatch.context() as read_only:
        read_only.setattr(LocalPath, "touch", None)
        listed = {c.table: c.deleted for c in maintenance.vacuum(store, "v", dry_run=True)}
    assert listed["quality"] == ["stage_key=x/old.parquet"]
    assert orphans[1].exists()
    maintenance.vacuum(store, "v")
    assert [path.exists() for path in orphans] == [True, False]
    assert rows(workspace, schemas.QUALITY).height == 5


def test_vacuum_spares_a_file_that_was_dropped_long_ago_and_has_just_been_written_again(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(workspace.create().root)
    store.create_tables()
    row = {"name": "v1", "manifest": "{}", "note": None, "job_id": "job", "created_ns": 1}
    rows_ = pa.Table.from_pylist([row], schemas.RELEASES.file_schema)
    (part, other) = (write_part(store.root, schemas.RELEASES, rows_.slice(0, n)) for n in (1, 0))
    long_ago = int(time.time() * 1000) - 48 * 3_600_000
    monkeypatch.setattr("jobs.storage.delta_library.now_ms", lambda: long_ago)
    for change in (Change([part, other]), Change(drop=[Drop()])):
        store.open(schemas.RELEASES).commit(change, "job")
    files = [workspace.folder / "releases" / each.path for each in (part, other)]
    for file in files:
        os.utime(file, (long_ago / 1000, long_ago / 1000))
    # By a run that has not committed it yet.
    assert write_part(store.root, schemas.RELEASES, rows_) == part
    deleted = {c.table: c.deleted for c in maintenance.vacuum(store, "v")}
    assert deleted["releases"] == [other.path]
    assert [file.exists() for file in files] == [True, False]


@pytest.mark.parametrize("state", ["failed", "paused"])
def test_vacuum_spares_what_a_run_that_was_cut_short_had_committed(
    workspace: Workspace, tmp_path: Path, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt if state == "paused" else RuntimeError("no more")

    cam = write_noise_stream(tmp_path / "cam", range(5))
    with monkeypatch.context() as patched:
        patched.setattr("jobs.passes.table_stages.TableStages.run", stop)
        with pytest.raises((KeyboardInterrupt, RuntimeError)):
            go(workspace, cam)
    maintenance.vacuum(Store(workspace.root), "v", retention_hours=0)
    assert "quality" not in computed(go(workspace, cam))
