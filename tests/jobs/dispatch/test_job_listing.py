from __future__ import annotations

from pathlib import Path

import pytest

from jobs.dispatch.job_listing import listed
from jobs.records.job_log import JobLog
from jobs.storage.workspace import Workspace
from tests.helpers import go, said, winnow, write_noise_stream


@pytest.mark.usefixtures("engine")
def test_jobs_are_listed_with_what_they_were_given_and_kept(workspace: Workspace, tmp_path: Path) -> None:
    cam = write_noise_stream(tmp_path / "cam", [1, 2, 3, 3, 4])
    done = go(workspace, cam)
    JobLog(workspace.root, "29990101-000000-nightly").add(
        "submitted", {"asked": {"inputs": ["/data/gate"]}, "priority": 3, "schedule": "nightly"}
    )
    first, waits = listed(workspace.root)
    assert (first["job_id"], first["state"], first["inputs"]) == (done.job_id, "done", [str(cam)])
    assert (first["frames"], first["kept"]) == (5, 4)
    assert first["seconds"] > 0
    assert (waits["state"], waits["inputs"], waits["schedule"]) == ("pending", ["/data/gate"], "nightly")
    assert (waits["frames"], waits["kept"], waits["seconds"]) == (None, None, None)
    assert said(winnow("job", "list", "-w", workspace.root, "--json")) == [first, waits]
    printed = winnow("job", "list", "-w", workspace.root).stdout
    assert f"{done.job_id}  done" in printed
    assert "/data/gate" in printed
    # The run that is meant is the last one that began.
    assert said(winnow("inspect", "job", "last", "-w", workspace.root, "--json"))["job_id"] == done.job_id
    assert said(winnow("inspect", "job", "-w", workspace.root, "--json"))["counts"]["kept"] == 4
    runs = winnow("inspect", "runs", "-w", workspace.root).stdout
    assert "5 frames, 4 kept, " in runs
    assert str(cam) in runs


@pytest.mark.usefixtures("engine")
def test_what_a_run_kept_is_that_of_its_own_streams_at_its_own_thresholds(workspace: Workspace, tmp_path: Path) -> None:
    one, other = write_noise_stream(tmp_path / "one", [1, 2, 3]), write_noise_stream(tmp_path / "other", [11, 12])
    assert go(workspace, one).counts["kept"] == 3
    assert go(workspace, other).counts["kept"] == 2
    assert go(workspace, one, settings=["curation.dark_mean=255"]).counts["kept"] == 0
    assert go(workspace, one, other).counts["kept"] == 5
