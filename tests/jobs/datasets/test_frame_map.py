"""`winnow map`: a row for each frame that has a vector, replaced by the next map of its kind."""

from __future__ import annotations

from pathlib import Path

import pytest

import schemas
from jobs.core.errors import UserError
from jobs.datasets.frame_map import MapRequest, make_map
from jobs.dispatch import tasks
from jobs.dispatch.job_queue import JobQueue
from jobs.dispatch.task_commands import command_of
from jobs.dispatch.task_options import MapOptions
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.helpers import go, write_noise_stream
from tests.marks import UMAP

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.xdist_group(UMAP)]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("mapped")
    found = Workspace.at(folder / "tables")
    go(found, write_noise_stream(folder / "cam", range(12)))
    return found


def test_a_map_has_a_place_for_each_frame_with_a_layout_and_replaces_the_one_before(workspace: Workspace) -> None:
    for neighbours in (5, 3):
        found = make_map(workspace, MapRequest("layout", neighbours))
        assert found == {"name": "umap-layout", "method": "umap", "by": "layout", "model": None, "frames": 12}
        rows = View.of(workspace).sql("SELECT * FROM projections ORDER BY frame_idx")
        assert rows["frame_idx"].to_pylist() == list(range(12))
        assert set(rows["neighbours"].to_pylist()) == {neighbours}
        assert len(set(zip(rows["x"].to_pylist(), rows["y"].to_pylist(), strict=True))) == 12


def test_frames_without_vectors_make_no_map(workspace: Workspace) -> None:
    before = Store(workspace.root).open(schemas.PROJECTIONS).n_rows
    with pytest.raises(UserError, match="--add-stage embeddings"):
        make_map(workspace, MapRequest("embedding"))
    assert Store(workspace.root).open(schemas.PROJECTIONS).n_rows == before


def test_a_job_of_the_queue_makes_the_map(workspace: Workspace, tmp_path: Path) -> None:
    options = MapOptions(by="layout", neighbours=4, seed=7)
    assert command_of(options, "W") == [
        *("winnow", "map", "--by", "layout", "--neighbours", "4", "--seed", "7"),
        *("--workspace", "W"),
    ]
    job_id = tasks.submit(workspace, options)
    queue = JobQueue(workspace.root)
    [job] = [job for job in queue.live() if job.job_id == job_id]
    queue.claim(job)
    assert tasks.run(workspace, job)["frames"] == 12
    assert View.of(workspace).sql("SELECT DISTINCT seed FROM projections")["seed"].to_pylist() == [7]
