from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import schemas
from jobs.core.errors import RunFailedError
from jobs.core.os_errors import as_problem
from jobs.runs.job_requests import find
from jobs.storage import local_paths
from jobs.storage.paths import place
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from tests.helpers import go, problems, said, winnow, write_noise_stream
from tests.processes import finished, resume


def test_temporary_names_are_not_shown(tmp_path: Path) -> None:
    target = tmp_path / "no folder" / "page.html"
    with pytest.raises(FileNotFoundError) as missing:
        place(target).write(b"page")
    assert as_problem(missing.value) == (
        f"{target} cannot be written: there is no folder {target.parent}; make it first, or name another place"
    )
    with pytest.raises(IsADirectoryError) as folder:
        place(tmp_path).write(b"page")
    assert as_problem(folder.value) == f"{tmp_path} cannot be written: it is a folder; name a file"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
            "a file cannot be written: the disk is full; free some space, then run this again",
        ),
        (
            OSError("Generic LocalFileSystem error\n ↳ No space left on device (os error 28)"),
            "a file cannot be written: the disk is full; free some space, then run this again",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "/w/.rows-12ab.parquet.1971.tmp"),
            "/w/rows-12ab.parquet cannot be written: permission denied; name another place, or ask its owner for leave",
        ),
        (OSError("something else altogether"), "something else altogether"),
    ],
)
def test_messages_have_failure_reason_and_fix(error: OSError, line: str) -> None:
    assert as_problem(error) == line


def test_the_subject_is_named_if_the_error_has_no_path() -> None:
    full = OSError(errno.ENOSPC, "x")
    assert as_problem(full, "workspace /w").startswith("workspace /w cannot be written: the disk is full; ")
    below = OSError(errno.ENOSPC, "x", "/w/a.parquet")
    assert as_problem(below, "workspace /w").startswith("/w/a.parquet cannot be written: the disk is full; ")
    assert as_problem(OSError("odd"), "workspace /w") == "workspace /w: odd"


@pytest.mark.process
def test_a_run_on_a_full_disk_says_so_and_leaves_word(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cam = write_noise_stream(tmp_path / "cam", range(4))
    go(workspace, cam)
    write_noise_stream(cam, range(4, 6), start=4)
    write = local_paths.write_flushed

    def full(file: Path, data: bytes, mode: str) -> None:
        # Until the run gives back what it has laid by.
        if any(tmp_path.glob("tables/jobs/*/.spare")) and file.name.endswith(".tmp") and "started" not in str(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))
        write(file, data, mode)

    monkeypatch.setattr(local_paths, "write_flushed", full)
    with pytest.raises(RunFailedError, match="the disk is full; free some space, then run this again"):
        go(workspace, cam)
    monkeypatch.undo()
    runs = Store(workspace.root).read(schemas.RUNS).to_pylist()
    assert [run["state"] for run in sorted(runs, key=lambda run: run["started_ns"])] == ["done", "failed"]
    last = said(winnow("inspect", "runs", "-w", workspace.root, "--json"))
    assert any("the disk is full" in (run["error"] or "") for run in last), json.dumps(last)
    assert not list(tmp_path.glob("tables/jobs/*/.spare"))
    assert go(workspace, cam).state == "done"


@pytest.mark.process
@pytest.mark.usefixtures("engine")
def test_a_run_is_done_only_once_its_row_says_so(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cam = write_noise_stream(tmp_path / "cam", range(4))
    upsert = Store.upsert

    def full(store: Store, table: schemas.Table, written: pa.Table, *more: Any) -> Any:
        if table is schemas.RUNS and written["state"].to_pylist() == ["done"]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return upsert(store, table, written, *more)

    monkeypatch.setattr(Store, "upsert", full)
    with pytest.raises(RunFailedError, match="the disk is full"):
        go(workspace, cam)
    monkeypatch.undo()
    (run,) = Store(workspace.root).read(schemas.RUNS).to_pylist()
    assert (run["state"], run["versions"], find(workspace, "last").state().state) == ("failed", None, "failed")
    finished(resume(Path(workspace.root), run["job_id"]))
    (run,) = Store(workspace.root).read(schemas.RUNS).to_pylist()
    assert (run["state"], find(workspace, "last").state().state) == ("done", "done")


@pytest.mark.process
def test_missing_data_files_are_distinguished_from_vacuumed_ones(workspace: Workspace, tmp_path: Path) -> None:
    cam = write_noise_stream(tmp_path / "cam", range(4))
    run = go(workspace, cam).job_id
    for file in tmp_path.glob("tables/frames/*/*.parquet"):
        file.unlink()
    query = ("sql", "-w", workspace.root, "SELECT * FROM frames")
    (now,) = problems(winnow(*query))
    assert now == "files of the tables are not there; `winnow doctor` names them and says what helps"
    (then,) = problems(winnow(*query, "--run", run))
    assert then.startswith(f"run {run} refers to {workspace.root}/frames/")
    assert "which is not there, and which `winnow tables vacuum` never deletes; bring it back from a backup" in then
    with pytest.raises(RunFailedError, match=r"\.parquet cannot be read: it is not there; bring it back from a backup"):
        go(workspace, cam)
