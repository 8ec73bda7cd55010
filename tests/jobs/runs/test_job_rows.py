from __future__ import annotations

from pathlib import Path

import pytest

import schemas
from conf import load
from jobs.core.errors import UserError
from jobs.datasets import release
from jobs.records.job_log import jobs_of
from jobs.runs import job_requests
from jobs.runs.run import RunRequest, run
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from tests.helpers import go, rows, write_noise_stream

pytestmark = pytest.mark.usefixtures("engine")


def test_a_job_is_cleared_once_nothing_refers_to_it(workspace: Workspace, tmp_path: Path) -> None:
    cam = write_noise_stream(tmp_path / "cam", range(4))
    first = go(workspace, cam)
    store = Store(workspace.root)
    release.create(store, "v1", first.job_id)
    with pytest.raises(UserError) as refused:
        job_requests.clear(job_requests.find(workspace, first.job_id))
    assert refused.value.problems == [
        f"job {first.job_id} made what the tables show of cam",
        f"job {first.job_id} is what release v1 was made of",
    ]
    second = go(workspace, cam, settings=["curation.dark_mean=20"])
    job_requests.clear(job_requests.find(workspace, go(workspace, cam, settings=["curation.dark_mean=20"]).job_id))
    assert jobs_of(workspace.root) == [first.job_id, second.job_id]
    for table in (schemas.RUNS, schemas.STAGE_RUNS):
        assert set(store.read(table)["job_id"].to_pylist()) == {first.job_id, second.job_id}
    assert rows(workspace, schemas.QUALITY).height == 4


def test_a_job_that_is_not_over_is_not_cleared(workspace: Workspace, tmp_path: Path) -> None:
    cam = write_noise_stream(tmp_path / "cam", range(4))
    paused = run(RunRequest(workspace, [str(cam)], load(), pause_after="measure"))
    job = job_requests.find(workspace, paused.job_id)
    with pytest.raises(UserError, match="is paused; expected one that is done, failed or cancelled"):
        job_requests.clear(job)
    assert job_requests.cancel(job).state == "cancelled"
    assert Store(workspace.root).read(schemas.RUNS)["state"].to_pylist() == ["cancelled"]
    job_requests.clear(job)
    assert jobs_of(workspace.root) == []
    assert store_ids(workspace) == []


def store_ids(workspace: Workspace) -> list[str]:
    return list(Store(workspace.root).read(schemas.RUNS)["job_id"].to_pylist())
