"""Jobs handed to a real cluster of Ray through its dashboard."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.core.errors import UserError
from jobs.dispatch import ray_jobs as rayjobs
from jobs.dispatch.job_queue import JobQueue, due_jobs
from jobs.dispatch.submit import submit
from jobs.engine.ray_engine import ray_jobs
from jobs.records.job_log import JobLog, JobState, fold
from jobs.runs.run_options import RunOptions
from jobs.storage.workspace import Workspace
from tests.helpers import assert_same_tables, go, said, winnow, write_noise_stream
from tests.machines import UNCOMPILED, head
from tests.reference import ROOT
from tests.waiting import wait_until

pytestmark = [pytest.mark.engine, pytest.mark.xdist_group("heads")]

N = 30


@pytest.fixture(scope="module")
def dashboard() -> Iterator[str]:
    """The dashboard of a cluster that was started as the documentation says."""
    with head("--include-dashboard=true", **UNCOMPILED) as (_, address):

        def takes_jobs() -> bool:
            # The dashboard answers sooner than what starts the jobs.
            try:
                ray_jobs(address).submit_job(entrypoint="true")
            except (UserError, RuntimeError):
                return False
            return True

        wait_until(takes_jobs, "the dashboard did not come up", every_s=0.2)
        yield address


def ended(workspace: Workspace, job_id: str) -> str:
    def state() -> JobState:
        found = fold(JobLog(workspace.root, job_id).records())
        assert found is not None
        return found

    wait_until(lambda: state().ended, "the job did not end", every_s=0.2)
    return state().state


@pytest.mark.slow
def test_a_job_that_is_handed_over_leaves_the_rows_of_any_other(
    dashboard: str, workspace: Workspace, tmp_path: Path
) -> None:
    cam = write_noise_stream(tmp_path / "cam", range(N))
    command = [sys.executable, "-m", "jobs.cli", "submit", "--to", "ray", "--ray-address", dashboard, "--json"]
    command += ["--input", str(cam), "--workspace", str(workspace.root)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    # Ray has nothing to add.
    assert done.stderr == ""
    job_id = json.loads(done.stdout)["job_id"]
    # No gateway takes it up meanwhile.
    assert due_jobs(JobQueue(workspace.root).live(), time.time_ns()) == []
    assert ended(workspace, job_id) == "done"
    records = JobLog(workspace.root, job_id).records()
    assert [record.word for record in records] == ["submitted", "claimed", "started", "done"]
    named = records[0].data["ray"]["job"]
    assert records[1].data["ray_job"] == named
    reported = ray_jobs(dashboard).get_job_info(named)
    assert reported.metadata == {"winnow_job": job_id, "workspace": str(workspace.root)}
    alone = Workspace.at(tmp_path / "alone")
    go(alone, cam)
    assert_same_tables(workspace, alone)


@pytest.mark.slow
def test_a_job_that_never_got_to_its_cluster_is_handed_over_when_it_is_resumed(
    dashboard: str, workspace: Workspace, tmp_path: Path
) -> None:
    # What is left of a submission that was killed between the record and the cluster.
    cam = write_noise_stream(tmp_path / "cam", range(3))
    job_id = submit(workspace.root, RunOptions(inputs=[str(cam)], settings=["stages=[frames]"]))
    (record,) = JobLog(workspace.root, job_id).records()
    workspace = Workspace.at(tmp_path / "other").create()
    to = {"address": dashboard, "packages": [], "job": f"winnow-{job_id}-1"}
    JobLog(workspace.root, job_id).add("submitted", {**record.data, "to": "ray", "ray": to})
    assert said(winnow("job", "resume", job_id, "--workspace", workspace.root, "--json"))["state"] == "pending"
    reported = ray_jobs(dashboard).get_job_info(f"winnow-{job_id}-2")
    assert reported.metadata == {"winnow_job": job_id, "workspace": str(workspace.root)}
    # The cluster runs one that was cancelled in the meantime no more.
    winnow("job", "cancel", job_id, "--workspace", workspace.root)


def test_problems_of_a_ray_job_are_reported_before_anything_is_written(workspace: Workspace, tmp_path: Path) -> None:
    asked = RunOptions(inputs=[str(write_noise_stream(tmp_path / "cam", range(2)))])
    with pytest.raises(UserError, match=r"no dashboard of a Ray cluster answers at http://127\.0\.0\.1:1"):
        rayjobs.submit(workspace.root, asked, "http://127.0.0.1:1")
    with pytest.raises(UserError, match="nowhere does not exist"):
        rayjobs.submit(workspace.root, RunOptions(inputs=[str(tmp_path / "nowhere")]), "http://127.0.0.1:1")
    assert not workspace.exists
