from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jobs.core.errors import UserError
from jobs.core.processes import process_identity
from jobs.dispatch import schedule
from jobs.dispatch.job_queue import JobQueue
from jobs.dispatch.schedule import Schedule
from jobs.dispatch.schedule_commands import crontab, run_now
from jobs.records.job_log import JobLog
from jobs.storage.paths import place


@pytest.fixture
def nightly(tmp_path: Path) -> Path:
    """A workspace with a schedule."""
    schedule.save(place(tmp_path), Schedule("nightly", "0 2 * * *", "UTC", {"inputs": ["/cam"]}))
    return tmp_path


def left_by(root: Path, process: dict[str, Any]) -> JobLog:
    """The job of a night, claimed by a process."""
    job_log = JobLog(place(root), "20261121-020000-nightly")
    job_log.add("submitted", {"asked": {}, "schedule": "nightly"})
    job_log.add("claimed", {"process": process})
    job_log.add("started", {"process": process})
    return job_log


@pytest.mark.process
def test_an_unfinished_scheduled_job_is_finished_before_a_new_one(nightly: Path) -> None:
    code = "import json; from jobs.core.processes import process_identity; print(json.dumps(process_identity()))"
    dead = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    left_by(nightly, dead)
    assert run_now(place(nightly), "nightly", claim=True) == "20261121-020000-nightly"
    (job,) = JobQueue(place(nightly)).jobs()
    assert (job.is_claimed, job.state.holder, job.state.attempts) == (True, process_identity(), 2)


def test_a_running_scheduled_job_is_not_started_again(nightly: Path) -> None:
    left_by(nightly, process_identity())
    for claim in (False, True):
        with pytest.raises(UserError, match="job 20261121-020000-nightly is running"):
            run_now(place(nightly), "nightly", claim)
    assert len(JobQueue(place(nightly)).jobs()) == 1


def test_a_claimed_scheduled_job_is_run_by_no_other_process(nightly: Path) -> None:
    job_id = run_now(place(nightly), "nightly", claim=True)
    (job,) = JobQueue(place(nightly)).jobs()
    assert (job.job_id, job.is_claimed, job.release is not None) == (job_id, True, True)
    JobLog(place(nightly), job_id).add("started", {"process": process_identity()})
    (job,) = JobQueue(place(nightly)).jobs()
    assert not job.is_claimed


@pytest.mark.process
def test_a_crontab_line_quotes_names_with_special_characters(tmp_path: Path) -> None:
    zone, line = crontab(place(tmp_path / "100% of it's"), Schedule("nightly", "0 2 * * *", "Europe/Berlin", {}))
    assert zone == "CRON_TZ=Europe/Berlin"
    # What cron makes of it: an escaped percent sign is one, and the rest is for the shell.
    command = line.removeprefix("0 2 * * * ").replace(r"\%", "%")
    printed = subprocess.run(["sh", "-c", f"printf '%s\\n' {command}"], capture_output=True, text=True, check=True)
    assert printed.stdout.splitlines()[-5:] == [
        *("run-now", "nightly", "--here", "--workspace"),
        str(tmp_path / "100% of it's"),
    ]
