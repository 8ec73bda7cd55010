from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from jobs.core.errors import UserError
from jobs.dispatch.arrival_commands import add
from jobs.dispatch.arrivals import submit_arrived
from jobs.dispatch.job_queue import JobQueue
from jobs.runs.run_options import RunOptions
from jobs.storage.workspace import Workspace
from tests.helpers import noise, problems, said, scenery, winnow, write_clip, write_noise_stream

S = 1_000_000_000


def look(workspace: Workspace, second: float) -> list[dict[str, Any]]:
    return [details for event, details in submit_arrived(workspace.root, int(second * S)) if event == "arrived"]


def inputs_of(workspace: Workspace, job_id: str) -> list[tuple[str, str]]:
    [job] = [job for job in JobQueue(workspace.root).jobs() if job.job_id == job_id]
    asked = job.submitted["asked"]
    return list(zip(asked["inputs"], asked["stream_ids"], strict=True))


@pytest.fixture
def folder(workspace: Workspace, tmp_path: Path) -> Path:
    (tmp_path / "incoming").mkdir()
    add(workspace.root, "cams", RunOptions(inputs=(str(tmp_path / "incoming"),)), 300.0)
    return tmp_path / "incoming"


def test_a_batch_is_run_once_nothing_has_come_for_a_while(workspace: Workspace, folder: Path) -> None:
    one = write_clip(folder / "one.mp4", scenery(3))
    assert look(workspace, 1000) == []
    (folder / "day").mkdir()
    two = write_clip(folder / "day" / "two.mp4", scenery(3))
    assert look(workspace, 1200) == []
    # The first has been the same for long enough; the second has not.
    assert look(workspace, 1301) == []
    [batch] = look(workspace, 1500)
    assert inputs_of(workspace, batch["job_id"]) == [(str(one), "one"), (str(two), "day/two")]
    assert look(workspace, 5000) == []
    # A file that is only touched is no other one; one with other bytes is.
    os.utime(one)
    assert look(workspace, 6000) == look(workspace, 7000) == []
    write_clip(one, scenery(5))
    assert look(workspace, 8000) == []
    [batch] = look(workspace, 8400)
    assert inputs_of(workspace, batch["job_id"]) == [(str(one), "one")]


def test_a_clip_that_is_being_written_is_waited_for(workspace: Workspace, folder: Path) -> None:
    done = write_clip(folder / "done.mp4", scenery(3))
    growing = folder / "growing.mp4"
    for second in range(0, 3400, 200):
        with open(growing, "ab") as file:
            file.write(b"more")
        assert look(workspace, second) == []
    # What is whole is not held up without end by what never is.
    with open(growing, "ab") as file:
        file.write(b"more")
    [batch] = look(workspace, 3700)
    assert inputs_of(workspace, batch["job_id"]) == [(str(done), "done")]
    [batch] = look(workspace, 4100)
    assert inputs_of(workspace, batch["job_id"]) == [(str(growing), "growing")]


def test_a_gateway_that_died_after_submitting_submits_nothing_twice(workspace: Workspace, folder: Path) -> None:
    write_noise_stream(folder / "cam", range(3))
    assert look(workspace, 1000) == []
    noted = workspace.folder / "arrivals/noted/cams.json"
    before = noted.read_bytes()
    [first] = look(workspace, 1300)
    noted.write_bytes(before)
    [again] = look(workspace, 1400)
    assert first["job_id"] == again["job_id"]
    assert len(JobQueue(workspace.root).jobs()) == 1


def test_data_that_comes_back_after_other_data_is_a_batch_of_its_own(workspace: Workspace, folder: Path) -> None:
    """Otherwise its rows, which were replaced meanwhile, would be missing."""
    clip = write_clip(folder / "one.mp4", scenery(3))
    first, other = clip.read_bytes(), write_clip(folder.parent / "other.mp4", scenery(5)).read_bytes()
    made = []
    for second, content in ((1000, first), (2000, other), (3000, first)):
        clip.write_bytes(content)
        assert look(workspace, second) == []
        made += look(workspace, second + 400)
    assert len({batch["job_id"] for batch in made}) == len(made) == 3


def test_a_rule_that_is_added_once_more_runs_what_is_there(workspace: Workspace, folder: Path) -> None:
    """It may run something else."""
    write_clip(folder / "one.mp4", scenery(3))
    assert look(workspace, 1000) == []
    [first] = look(workspace, 1400)
    assert winnow("arrivals", "remove", "cams", "--workspace", workspace.root).exit_code == 0
    add(workspace.root, "cams", RunOptions(inputs=(str(folder),), profile="brands"), 300.0)
    assert look(workspace, 2000) == []
    [second] = look(workspace, 2400)
    assert first["job_id"] != second["job_id"]


def test_uploads_are_watched_and_rules_listed_and_removed(workspace: Workspace, tmp_path: Path) -> None:
    where = ("--workspace", workspace.root)
    assert winnow("arrivals", "add", "sent", "--input", "upload:match-7", "--debounce", "0", *where).exit_code == 0
    [wrong] = problems(winnow("arrivals", "add", "none", "--input", tmp_path / "none", *where))
    assert "expected a folder, found none" in wrong
    [taken] = problems(winnow("arrivals", "add", "sent", "--input", "upload:", *where))
    assert "exists" in taken
    clip = workspace.folder / "uploads/files/match-7/a.mp4"
    clip.parent.mkdir(parents=True)
    write_clip(clip, [noise(1), noise(2)])
    [batch] = look(workspace, 1000)
    assert inputs_of(workspace, batch["job_id"]) == [(str(clip), "a")]
    [row] = said(winnow("arrivals", "list", *where, "--json"))
    assert (row["submitted"], row["waiting"], row["last_job"]) == (1, 0, batch["job_id"])
    assert winnow("arrivals", "remove", "sent", *where).exit_code == 0
    with pytest.raises(UserError):
        add(workspace.root, "../x", RunOptions(inputs=(str(tmp_path),)), 1.0)
