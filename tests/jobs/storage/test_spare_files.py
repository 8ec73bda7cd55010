"""What a process that was killed left is deleted by the next one, and what others are writing is not."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import schemas
from jobs.records.job_claim import JobClaim
from jobs.records.run_events import SilentListener
from jobs.storage import maintenance, spare_files
from jobs.storage.paths import place
from jobs.storage.store import Store

pytestmark = pytest.mark.process

_WRITE = """
import os, sys, time
from pathlib import Path
from jobs.storage import spare_files
for folder in sys.argv[2:]:
    Path(folder).mkdir(parents=True, exist_ok=True)
    (Path(folder) / spare_files.spare_name("rows.parquet", "tmp", "0011aabb")).touch()
    (Path(folder) / ".drain-0011").touch()
with spare_files.temporary_folder() as folder:
    (folder / "wheel.zip").touch()
    print("ready", flush=True)
    if sys.argv[1] == "killed":
        os.kill(os.getpid(), 9)
    sys.stdin.read()
"""


def write(how: str, *folders: Path) -> subprocess.Popen[str]:
    """Start a process that is writing in these folders, and is killed over it, or lives until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", _WRITE, how, *map(str, folders)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    if how == "killed":
        process.wait()
    return process


def spare(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith(".rows"))


def test_temporary_files_of_dead_processes_alone_are_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    root = tmp_path / "tables"
    store = Store(place(root))
    store.create_tables([schemas.RUNS])
    folders = (root / "jobs/mine", root / "jobs/other", root / "runs")
    with write("lives", *folders) as lives, write("killed", *folders):
        assert [len(spare(folder)) for folder in folders] == [2, 2, 2]
        assert len(list(temporary.iterdir())) == 2
        # The next one that needs such a folder.
        with spare_files.temporary_folder() as own:
            assert own.is_dir()
            assert {f"{lives.pid}", own.parent.name.split(".")[2]} == {
                p.name.split(".")[2] for p in temporary.iterdir()
            }
        assert [path.name.split(".")[2] for path in temporary.iterdir()] == [str(lives.pid)]
        # The next attempt at a job clears that job's folder, and no other one.
        JobClaim.take(place(root), "mine", SilentListener(), {})
        assert [len(spare(folder)) for folder in folders] == [1, 2, 2]
        assert list((root / "jobs/mine").glob(".drain-*")) == []
        # Vacuum clears the tables.
        maintenance.vacuum(store, "v", dry_run=True)
        assert [len(spare(folder)) for folder in folders] == [1, 2, 2]
        maintenance.vacuum(store, "v")
        assert [len(spare(folder)) for folder in folders] == [1, 2, 1]
        assert f".{lives.pid}." in spare(root / "runs")[0]
        assert lives.stdin
        lives.stdin.close()
    assert list(temporary.iterdir()) == []


def test_what_is_young_can_be_kept(tmp_path: Path) -> None:
    write("killed", tmp_path)
    spare_files.clear(tmp_path, None, "tmp", least_age_s=3600)
    assert len(spare(tmp_path)) == 1
    spare_files.clear(tmp_path, "other.parquet", "tmp")
    spare_files.clear(tmp_path, "rows.parquet", "partial")
    assert len(spare(tmp_path)) == 1
    spare_files.clear(tmp_path, "rows.parquet", "tmp")
    assert spare(tmp_path) == []


def test_links_are_deleted_and_not_what_they_lead_to(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").touch()
    (tmp_path / "link").symlink_to("mine")
    spare_files.remove(tmp_path / "link")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "mine"]
