"""What is left when processes die, disks fill up and others write at the same time."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

import schemas
from conf import load
from jobs.core.errors import RunFailedError
from jobs.engine.ray_engine import Engine
from jobs.records.job_log import jobs_of
from jobs.records.journal import events
from jobs.records.run_events import SilentListener
from jobs.runs.run import RunRequest, run
from jobs.storage import paths
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
    rows,
    write_noise_stream,
)
from tests.processes import finished, n_rows, resume, start, wait_for_rows
from tests.waiting import PATIENCE_S, ended

N = SMALL.planted.n_files


@pytest.mark.usefixtures("engine")
def test_a_run_in_which_every_frame_fails_alike_ends_with_the_cause(workspace: Workspace, tmp_path: Path) -> None:
    cam = tmp_path / "cam"
    cam.mkdir()
    for number in range(3):
        os.mkfifo(cam / f"image_{number}.jpg")
    with pytest.raises(RunFailedError, match=r"each of the 3 frames failed alike.* expected a regular file"):
        go(workspace, cam)
    assert rows(workspace, schemas.QUARANTINE).is_empty()


@pytest.mark.usefixtures("engine")
@pytest.mark.slow
def test_a_run_killed_at_ten_random_moments_gives_the_rows_of_one_that_was_not(
    sample_tables: Workspace, tmp_path: Path, sample_folder: Path
) -> None:
    moments = random.Random(20261121)
    place = tmp_path / "tables"
    committed = []
    for number in range(10):
        process = start(place, sample_folder, alone=number % 2 == 0)
        # From before the first table is made to well into the table stages.
        wait_for_rows(place, process, moments.randrange(0, N) if moments.random() < 0.8 else N)
        time.sleep(moments.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        committed.append(n_rows(place))
    last = finished(start(place, sample_folder))
    workspace = Workspace.at(place)
    assert committed == sorted(committed), "rows that were committed got lost"
    assert last["state"] == "done"
    assert_one_live_row(workspace)
    assert_same_tables(workspace, sample_tables)
    states = View.of(workspace).lazy("runs").collect()["state"].to_list()
    assert set(states) == {"done", "failed"}
    assert finished(start(place, sample_folder, alone=True))["counts"]["frames_read"] == 0


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(("number", "alone"), [(signal.SIGINT, False), (signal.SIGTERM, True)])
@pytest.mark.slow
def test_an_interrupted_run_commits_what_is_in_hand_pauses_and_says_so(
    tmp_path: Path, number: signal.Signals, alone: bool
) -> None:
    # Far more frames than are read between the first commit and the signal, however busy the machine is.
    n = 1000
    stream = write_noise_stream(tmp_path / "cam", range(n))
    place = tmp_path / "tables"
    process = start(place, stream, alone=alone)
    wait_for_rows(place, process, 10)
    process.send_signal(number)
    code, out, err = ended(process)
    assert code == 4, err
    workspace = Workspace.at(place)
    (run,) = View.of(workspace).lazy("runs").collect().to_dicts()
    job_id = run["job_id"]
    assert err == (
        f"run {job_id} is paused; what was committed stays, and it continues with `winnow job resume {job_id}`\n"
    )
    assert (run["state"], run["error"], json.loads(out)["state"]) == ("paused", None, "paused")
    kept = n_rows(place)
    assert 0 < kept < n
    assert json.loads(out)["stages"]["frames"]["computed"] == kept
    assert View.of(workspace).lazy("heads").collect().height == 0
    # Another run finds done what this one had committed.
    assert finished(start(place, stream, settings=(), alone=True))["stages"]["frames"]["computed"] == n - kept


@pytest.mark.usefixtures("engine")
@pytest.mark.slow
def test_a_second_interrupt_ends_a_run_at_once(tmp_path: Path) -> None:
    stream = write_noise_stream(tmp_path / "cam", range(600))
    place = tmp_path / "tables"
    process = start(place, stream, alone=True)
    wait_for_rows(place, process, 10)
    process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    code, _, err = ended(process)
    assert (code, err) == (130, "")
    (job_id,) = jobs_of(paths.place(place))
    assert finished(resume(place, job_id, alone=True))["state"] == "done"
    assert rows(Workspace.at(place), schemas.FRAMES).height == 600
    assert_one_live_row(Workspace.at(place))


@pytest.mark.usefixtures("engine")
@pytest.mark.slow
def test_two_runs_at_once_end_with_the_rows_of_one(
    sample_tables: Workspace, tmp_path: Path, sample_folder: Path
) -> None:
    place = tmp_path / "tables"
    both = [start(place, sample_folder), start(place, sample_folder)]
    results = [finished(process) for process in both]
    assert [r["state"] for r in results] == ["done", "done"]
    workspace = Workspace.at(place)
    assert_one_live_row(workspace)
    assert_same_tables(workspace, sample_tables)


@pytest.mark.usefixtures("engine")
@pytest.mark.slow
def test_two_runs_over_different_streams_at_once_lose_no_group(tmp_path: Path) -> None:
    folders = [
        write_noise_stream(tmp_path / name, [*seeds, 500]) for name, seeds in (("a", range(40)), ("b", range(100, 140)))
    ]
    place = tmp_path / "tables"
    results = [finished(process) for process in [start(place, folder, alone=True) for folder in folders]]
    assert [r["state"] for r in results] == ["done", "done"]
    workspace = Workspace.at(place)
    assert_one_live_row(workspace)
    found = rows(workspace, schemas.DUPLICATES)
    assert found.height == 82
    shared = found.filter(pl.col("frame_idx") == 40)
    assert shared["group_id"].n_unique() == 1
    assert finished(start(place, *folders, alone=True))["stages"]["frames"]["computed"] == 0


@pytest.fixture
def deadly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stream of which one frame kills the process that decodes it, as a flaw in a decoder would."""
    cam = write_noise_stream(tmp_path / "cam", range(40))
    # Python imports this when it starts; only workers read frames.
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import os, sys\n"
        "import importlib.abc\n"
        "class Hook(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'transforms.frames.frame_image':\n"
        "            sys.meta_path.remove(self)\n"
        "            import transforms.io.frame_bytes as source\n"
        "            read = source.read_frame\n"
        "            def deadly(path):\n"
        "                if path.endswith('image_17.jpg'):\n"
        "                    os._exit(11)\n"
        "                return read(path)\n"
        "            source.read_frame = deadly\n"
        "        return None\n"
        "sys.meta_path.insert(0, Hook())\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    return cam


_BY_THE_ENGINE = """
from jobs.engine.lazy_engine import LazyEngine
LazyEngine.takes_over = lambda *_: True
from jobs.cli import main
main()
"""


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.parametrize("program", [["-m", "jobs.cli"], ["-c", _BY_THE_ENGINE]], ids=["processes", "engine"])
def test_a_frame_that_kills_its_worker_is_quarantined_and_costs_no_other(
    deadly: Path, tmp_path: Path, program: list[str]
) -> None:
    command = [sys.executable, *program, "run", "--json", "--workspace", str(tmp_path / "tables")]
    command += ["--input", str(deadly), "--set", "resources.num_cpus=2"]
    process = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert process.returncode == 0, process.stderr
    result = json.loads(process.stdout.splitlines()[-1])
    assert len(process.stdout.splitlines()) == 1
    held = View.of(Workspace.at(tmp_path / "tables")).lazy("quarantine").collect()
    assert set(held.filter(pl.col("stage") == "frames")["frame_idx"]) <= {17, 18}
    assert (17, "WorkerDied") in held.select("frame_idx", "error_type").rows()
    frames = result["stages"]["frames"]
    assert frames["computed"] + frames["quarantined"] == 40
    reported = [
        e for e in events(paths.place(tmp_path / "tables"), result["job_id"]) if e["event"] == "frames_set_aside"
    ]
    assert sum(e["frames"] for e in reported) == frames["quarantined"]
    assert all(e["error"].startswith("WorkerDied: ") for e in reported)
    assert frames["quarantined"] <= 2


@pytest.mark.usefixtures("engine")
@pytest.mark.slow
def test_a_full_disk_ends_the_run_with_one_line_and_the_next_run_continues(tmp_path: Path, sample_folder: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(small)], check=False).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        process = start(small / "tables", sample_folder, alone=True)
        code, _, err = ended(process)
        assert code == 1, err
        assert "the disk is full; free some space, then run this again" in err
        assert "Traceback" not in err
        subprocess.run(["mount", "-o", "remount,size=64m", str(small)], check=True)
        assert finished(start(small / "tables", sample_folder, alone=True))["state"] == "done"
        assert_one_live_row(Workspace.at(small / "tables"))
        assert rows(Workspace.at(small / "tables"), schemas.FRAMES).height == N
    finally:
        subprocess.run(["umount", "-l", str(small)], check=False)


@pytest.mark.usefixtures("engine")
@pytest.mark.slow
def test_files_replaced_while_a_run_reads_them_end_up_right(tmp_path: Path, sample_folder: Path) -> None:
    cam = copy_stream(sample_folder, tmp_path / "cam")
    place = tmp_path / "tables"
    process = start(place, cam, alone=True)
    while process.poll() is None:
        for number in (10, 60, 120):
            data = (sample_folder / "image_2.jpg").read_bytes() + os.urandom(3)
            (cam / f"image_{number}.jpg").write_bytes(data)
        time.sleep(0.002)
    assert process.returncode == 0, process.communicate()[1]
    finished(start(place, cam, alone=True))
    workspace, fresh = Workspace.at(place), Workspace.at(tmp_path / "fresh")
    go(fresh, cam)
    for table in (schemas.QUALITY, schemas.FINGERPRINTS, schemas.MOTION):
        assert rows(workspace, table).equals(rows(fresh, table)), table.name
    assert computed(go(workspace, cam)) == {} or rows(workspace, schemas.FRAMES)["stat_id"].eq(0).any()
    assert_one_live_row(workspace)
    assert {t.name for t in STAGE_TABLES}


class Deleting(SilentListener):
    """Deletes the workspace, once, when a part of the run begins or, of the first one, when a block is done."""

    def __init__(self, root: Path, part: str | None) -> None:
        self.root, self.part = root, part

    def on_frames_done(self, frames: int) -> None:  # noqa: ARG002 - whichever they are
        if self.part is None:
            self._delete()

    def on_stage_started(self, what: str, total: int | None) -> None:  # noqa: ARG002 - however many
        if self.part == what:
            self._delete()

    def _delete(self) -> None:
        self.part = "nothing more"
        while self.root.exists():
            # Workers may be writing into it.
            shutil.rmtree(self.root, ignore_errors=True)


@pytest.mark.parametrize("part", [None, "finish"])
def test_a_workspace_that_is_deleted_under_a_run_stays_so(
    tmp_path: Path, sample_folder: Path, engine: Engine, part: str | None
) -> None:
    workspace = Workspace.at(tmp_path / "tables")
    loaded = load(settings=("unit_frames=8", "resources.block_frames=8", "resources.commit_seconds=0.05"))
    request = RunRequest(workspace, [str(sample_folder)], loaded)
    with pytest.raises(RunFailedError) as caught:
        run(request, Deleting(workspace.folder, part))
    assert caught.value.problems == [
        f"workspace {workspace.root} was deleted while the run was in progress; run again to recompute everything"
    ]
    assert not workspace.folder.exists()
    assert go(workspace, sample_folder).state == "done"
