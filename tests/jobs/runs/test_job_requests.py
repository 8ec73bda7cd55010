"""Jobs that are paused, stepped, cancelled and resumed end as those that were left alone."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

import schemas
from conf import load
from jobs.analysis import inspect_tables
from jobs.core.errors import UserError
from jobs.core.processes import process_identity
from jobs.records.job_log import jobs_of
from jobs.records.run_events import SilentListener
from jobs.records.run_record import RunRecord, close_dead_runs
from jobs.runs import job_requests, replay
from jobs.runs.job_requests import JobHandle
from jobs.runs.run import RunRequest, run
from jobs.storage import paths
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.helpers import SMALL, assert_one_live_row, assert_same_tables, go, on_disk, rows, write_noise_stream
from tests.processes import SLOW, finished, n_rows, resume, start, wait_for_rows
from tests.waiting import PATIENCE_S, ended

pytestmark = pytest.mark.usefixtures("engine")

N = SMALL.planted.n_files
STEPS = ("measure", "scenes", "idle", "duplicates", "curation")


def only_job(place: Path) -> JobHandle:
    (job_id,) = jobs_of(paths.place(place))
    return job_requests.find(Workspace.at(place), job_id)


def go_on(workspace: Workspace, job_id: str) -> RunRecord:
    return run(replay.of_job(workspace, job_id), job_id=job_id)


@pytest.mark.slow
def test_a_job_that_was_paused_ends_as_one_that_was_not(
    sample_tables: Workspace, tmp_path: Path, sample_folder: Path
) -> None:
    place = tmp_path / "tables"
    process = start(place, sample_folder)
    wait_for_rows(place, process, 10)
    job = only_job(place)
    assert job_requests.pause(job).state in {"running", "paused"}
    assert job_requests.wait(job, {"paused"}, PATIENCE_S).state == "paused"
    code, out, _ = ended(process)
    assert code == 4
    summary = json.loads(out)
    assert (summary["job_id"], summary["state"]) == (job.job_id, "paused")
    kept = n_rows(place)
    assert summary["stages"]["frames"]["computed"] == kept
    assert Store(paths.place(place)).read(schemas.HEADS).num_rows == 0
    last = finished(resume(place, job.job_id))
    assert (last["job_id"], last["state"]) == (job.job_id, "done")
    # What was done before the pause and after it is together what one run does: nothing twice.
    assert {n: s["computed"] + s["corrupt"] * (n == "duplicates") for n, s in last["stages"].items()} == dict.fromkeys(
        last["stages"], N
    )
    assert all(stage["reused"] == 0 for stage in last["stages"].values())
    # The frame that each worker had in progress when it paused may have been read in vain.
    assert N <= last["counts"]["frames_visited"] <= N + 2
    assert_one_live_row(Workspace.at(place))
    assert_same_tables(Workspace.at(place), sample_tables)
    assert View.of(Workspace.at(place)).lazy("runs").collect()["state"].to_list() == ["done"]


@pytest.mark.slow
def test_a_job_killed_while_it_pauses_is_failed_and_can_be_resumed(
    sample_tables: Workspace, tmp_path: Path, sample_folder: Path
) -> None:
    place = tmp_path / "tables"
    moments = random.Random(3)
    process = start(place, sample_folder, alone=True)
    job_id = ""
    for _ in range(2):
        wait_for_rows(place, process, 10)
        job = only_job(place)
        job_id = job.job_id
        if job.state().state == "running":
            job.job_log.add("pause")
        time.sleep(moments.uniform(0, 1))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        state = job.state().state
        assert state in {"failed", "paused"}
        # The next run records it for everybody; it is shown as dead before that, too.
        (shown,) = inspect_tables.runs(Store(paths.place(place)))
        assert shown["state"] == state
        assert shown["error"] == ("its process ended without finishing" if state == "failed" else None)
        close_dead_runs(Store(paths.place(place)), "nobody")
        assert Store(paths.place(place)).read(schemas.RUNS, ["state", "error"]).to_pylist() == [
            {name: shown[name] for name in ("state", "error")}
        ]
        process = resume(place, job_id, alone=True)
    assert finished(process)["state"] == "done"
    assert jobs_of(paths.place(place)) == [job_id]
    assert_one_live_row(Workspace.at(place))
    assert_same_tables(Workspace.at(place), sample_tables)


@pytest.mark.slow
def test_of_two_processes_that_resume_a_job_one_runs_it(
    sample_tables: Workspace, tmp_path: Path, sample_folder: Path
) -> None:
    workspace = Workspace.at(tmp_path / "tables")
    record = run(RunRequest(workspace, [str(sample_folder)], load(), pause_after="measure"))
    both = [resume(workspace.folder, record.job_id, alone=True) for _ in range(2)]
    ends = [ended(process) for process in both]
    assert sorted(code for code, _, _ in ends) == [0, 2]
    (refused,) = [err for code, _, err in ends if code == 2]
    assert "is running, by process" in refused or "is done, expected one that is paused" in refused
    assert_same_tables(workspace, sample_tables)


def test_a_job_is_stepped_through_stage_by_stage(sample_tables: Workspace, tmp_path: Path, sample_folder: Path) -> None:
    workspace = Workspace.at(tmp_path / "tables")
    record = run(RunRequest(workspace, [str(sample_folder)], load(), pause_after="measure"))
    job = job_requests.find(workspace, record.job_id[:-2])
    assert (job.job_id, job.state().state) == (record.job_id, "paused")
    for done in range(1, len(STEPS)):
        with pytest.raises(UserError, match="only a finished run can be read"):
            View.of(workspace, run=record.job_id)
        assert job_requests.step(job).state == "paused"
        record = run(replace(replay.of_job(workspace, job.job_id), one_stage=True), job_id=job.job_id)
        assert record.state == "paused"
        through = {n for n, o in record.outcomes.items() if o.state == "done"}
        assert through == {"frames", "quality", "fingerprints", "motion", *STEPS[1 : done + 1]}
        assert Store(workspace.root).read(schemas.HEADS).num_rows == 0
    last = go_on(workspace, job.job_id)
    assert last.state == "done"
    assert {n: o.computed for n, o in last.outcomes.items() if n != "duplicates"} == dict.fromkeys(
        {*last.outcomes} - {"duplicates"}, N
    )
    assert_same_tables(workspace, sample_tables)


def test_a_step_that_cannot_be_taken_is_not_taken_later(tmp_path: Path) -> None:
    workspace = Workspace.at(tmp_path / "tables")
    stream = write_noise_stream(tmp_path / "cam", range(4))
    record = run(RunRequest(workspace, [str(stream)], load(), pause_after="measure"))
    job = job_requests.find(workspace, record.job_id)
    job_requests.step(job)
    stream.rename(tmp_path / "away")
    with pytest.raises(UserError, match="cam"):
        run(replace(replay.of_job(workspace, job.job_id), one_stage=True), job_id=job.job_id)
    (tmp_path / "away").rename(stream)
    assert go_on(workspace, job.job_id).state == "done"


def test_pause_after_names_a_stage_or_is_refused(tmp_path: Path, sample_folder: Path) -> None:
    workspace = Workspace.at(tmp_path / "tables")
    first = run(RunRequest(workspace, [str(sample_folder)], load(), pause_after="measure"))
    job = job_requests.find(workspace, first.job_id)
    with pytest.raises(UserError, match="stage 'sharpness' is not part of the job; expected one of measure, scenes"):
        job_requests.pause_after(job, "sharpness")
    assert job_requests.pause_after(job, "duplicates").state == "paused"
    second = go_on(workspace, job.job_id)
    assert second.state == "paused"
    assert (second.outcomes["duplicates"].state, second.outcomes["curation"].state) == ("done", "pending")
    assert go_on(workspace, job.job_id).state == "done"


class Cancelling(SilentListener):
    """Has its job cancelled once the first frames are measured."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self.job_id = ""

    def on_job_claimed(self, job_id: str) -> None:
        self.job_id = job_id

    def on_frames_done(self, frames: int) -> None:
        assert frames >= 0
        job_requests.cancel(job_requests.find(self._workspace, self.job_id))


def test_a_cancelled_job_is_over(tmp_path: Path) -> None:
    workspace = Workspace.at(tmp_path / "tables")
    stream = write_noise_stream(tmp_path / "cam", range(600))
    record = run(RunRequest(workspace, [str(stream)], load(settings=SLOW)), Cancelling(workspace))
    assert (record.state, record.error) == ("cancelled", None)
    assert 0 < record.outcomes["frames"].computed < 600
    job = job_requests.find(workspace, "last")
    assert (job.job_id, job.state().state) == (record.job_id, "cancelled")
    assert View.of(workspace).lazy("runs").collect()["state"].to_list() == ["cancelled"]
    assert [r.word for r in job.job_log.records()] == ["started", "cancel", "cancelled"]
    for verb in ("resume", "step"):
        with pytest.raises(UserError, match="is cancelled, expected"):
            getattr(job_requests, verb)(job)
    with pytest.raises(UserError, match="pause is for a job that is not over"):
        job_requests.pause(job)


def test_a_limited_run_measures_no_more_after_a_pause(tmp_path: Path) -> None:
    workspace = Workspace.at(tmp_path / "tables")
    cam = write_noise_stream(tmp_path / "cam", range(40))
    request = RunRequest(workspace, [str(cam)], load(), limit=30, pause_after="measure")
    first = run(request)
    assert (first.state, first.outcomes["frames"].computed) == ("paused", 30)
    second = go_on(workspace, first.job_id)
    assert (second.state, second.outcomes["frames"].computed) == ("done", 30)
    assert second.seconds >= first.seconds


def test_a_job_that_died_when_it_was_done_is_done(tmp_path: Path) -> None:
    workspace = Workspace.at(tmp_path / "tables")
    record = go(workspace, write_noise_stream(tmp_path / "cam", range(3)))
    job = job_requests.find(workspace, record.job_id)
    (on_disk(job.job_log.folder) / "000002.json").unlink()
    with subprocess.Popen(["sleep", "60"]) as process:
        holder = process_identity(process.pid)
        process.kill()
    first = on_disk(job.job_log.folder) / "000001.json"
    first.write_text(json.dumps({"word": "started", "at_ns": 1, "data": {"process": holder}}))
    job = job_requests.find(workspace, record.job_id)
    assert job.state().state == "done"
    assert [r.word for r in job.job_log.records()] == ["started", "failed", "done"]


def test_a_cleared_job_is_refused(tmp_path: Path) -> None:
    workspace = Workspace.at(tmp_path / "tables")
    record = go(workspace, write_noise_stream(tmp_path / "cam", range(3)))
    job = job_requests.find(workspace, record.job_id)
    on_disk(job.job_log.folder / "000001.json").unlink()
    shutil.rmtree(on_disk(job.job_log.folder))
    with pytest.raises(UserError, match="was cleared"):
        job.state()
    for name in (record.job_id, "2020"):
        with pytest.raises(UserError, match=f"there is no job '{name}'"):
            job_requests.find(workspace, name)


def test_abort_ends_a_run_at_the_first_frame_that_cannot_be_read(tmp_path: Path) -> None:
    workspace = Workspace.at(tmp_path / "tables")
    cam = write_noise_stream(tmp_path / "cam", range(6))
    (cam / "image_3.jpg").unlink()
    (cam / "image_3.jpg").symlink_to(tmp_path / "nowhere.jpg")
    with pytest.raises(UserError, match=r"frame 3 of stream cam: FileNotFoundError.*--on-error quarantine"):
        run(RunRequest(workspace, [str(cam)], load(), on_error="abort"))
    (job_id,) = jobs_of(workspace.root)
    assert job_requests.find(workspace, job_id).state().state == "failed"
    assert rows(workspace, schemas.FRAMES).height == 0
    assert View.of(workspace).lazy("frames_all").collect().height == 5
