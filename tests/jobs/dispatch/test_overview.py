from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from jobs.core.processes import process_identity
from jobs.dispatch.overview import Overview, rss_mb
from jobs.records.job_log import DIED, JobLog
from jobs.records.journal import Journal
from jobs.storage.paths import place


def test_an_empty_workspace_has_nothing_to_show(tmp_path: Path) -> None:
    values = Overview(place(tmp_path)).values()
    assert (values["gateway"], values["queue"], values["running"]) == (None, {"depth": 0, "due": 0}, [])
    assert set(values["jobs"].values()) == {0}


def test_waiting_jobs_are_listed_in_the_order_in_which_they_will_start(tmp_path: Path) -> None:
    later = JobLog(place(tmp_path), "a-later")
    later.add("submitted", {"priority": 9})
    later.add("claimed", {"process": process_identity()})
    later.add("requeued", {"failed": True, "error": "no memory", "not_before_ns": time.time_ns() + 60 * 10**9})
    JobLog(place(tmp_path), "b-low").add("submitted", {"priority": 0})
    JobLog(place(tmp_path), "c-high").add("submitted", {"priority": 5})
    values = Overview(place(tmp_path)).values()
    assert values["queue"] == {"depth": 3, "due": 2}
    assert [job["job_id"] for job in values["waiting"]] == ["c-high", "b-low", "a-later"]
    assert values["waiting"][2]["failures"] == 1
    assert [(e["job_id"], e["error"]) for e in values["errors"]] == [("a-later", "no memory")]


def test_a_running_job_is_shown_as_far_as_its_journal_says_at_every_look(tmp_path: Path) -> None:
    job_log = JobLog(place(tmp_path), "job")
    job_log.add("submitted", {})
    job_log.add("claimed", {"process": process_identity()})
    overview = Overview(place(tmp_path))
    assert overview.values()["running"][0]["stage"] is None
    journal = Journal.of(place(tmp_path), "job")
    journal.write("run_started", frames=10)
    journal.write("stage_started", stage="measure", frames=10)
    for done in (4, 8):
        journal.write("block_done", frames=4)
        (job,) = overview.values()["running"]
        assert (job["stage"], job["done"], job["total"], job["attempt"]) == ("measure", done, 10, 1)
    assert job["worker"]["alive"]
    assert job["worker"]["silent_s"] < 60
    job_log.add("pause")
    assert overview.values()["running"][0]["asked"] == "pause"
    job_log.add("paused")
    values = overview.values()
    assert (values["running"], values["jobs"]["paused"]) == ([], 1)
    waited = JobLog(place(tmp_path), "waited")
    waited.add("submitted", {})
    waited.add("pause")
    waited.add("paused")
    paused = [(job["job_id"], job["queued"], job["begun"]) for job in overview.values()["paused"]]
    assert paused == [("job", True, True), ("waited", True, False)]


@pytest.mark.process
def test_a_run_whose_process_was_killed_has_failed_before_anybody_notes_it_down(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        job_log = JobLog(place(tmp_path), "job")
        job_log.add("started", {"process": process_identity(process.pid)})
        overview = Overview(place(tmp_path))
        assert overview.values()["jobs"]["running"] == 1
        process.kill()
    values = overview.values()
    assert (values["jobs"]["running"], values["jobs"]["failed"], values["running"]) == (0, 1, [])
    assert [(error["job_id"], error["error"]) for error in values["errors"]] == [("job", DIED)]
    assert [job.error for job in overview.jobs()] == [DIED]
    assert [record.word for record in job_log.records()] == ["started"]
    # What a gateway runs is its own to put back.
    JobLog(place(tmp_path), "queued").add("submitted", {})
    JobLog(place(tmp_path), "queued").add("claimed", {"process": job_log.records()[0].data["process"]})
    assert overview.values()["running"][0]["worker"]["alive"] is False


def test_memory_is_that_of_the_process(tmp_path: Path) -> None:
    before = rss_mb(os.getpid())
    held = bytearray(64 << 20)
    after = rss_mb(os.getpid())
    assert before is not None
    assert after is not None
    assert after - before > 50
    assert held
    assert rss_mb(2**22 + 1) is None
