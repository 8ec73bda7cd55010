from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from jobs.core.errors import UserError
from jobs.core.processes import process_identity
from jobs.records.job_log import JobLog
from jobs.records.journal import Journal
from jobs.runs.follow import duration, follow_job
from jobs.storage.paths import place
from jobs.storage.workspace import Workspace


def running(root: Path, job_id: str = "job") -> JobLog:
    job_log = JobLog(place(root), job_id)
    job_log.add("started", {"process": process_identity()})
    return job_log


@pytest.mark.parametrize("end", ["done", "failed", "paused", "cancelled"])
def test_a_job_is_followed_to_its_end_and_no_event_is_missed(workspace: Workspace, end: str) -> None:
    root = workspace.create().folder
    job_log = running(root)

    def work() -> None:
        journal = Journal.of(place(root), "job")
        for number in range(20):
            journal.write("committed", rows=number)
            time.sleep(0.01)
        job_log.add(end)

    worker = threading.Thread(target=work)
    worker.start()
    rows, states = [], []
    for events, state in follow_job(workspace, "jo"):
        rows += [event["rows"] for event in events]
        states.append(state)
    worker.join()
    assert rows == list(range(20))
    assert (states[0], states[-1]) == ("running", end)


@pytest.mark.process
def test_a_job_whose_process_was_killed_has_failed(workspace: Workspace) -> None:
    code = "import json; from jobs.core.processes import process_identity; print(json.dumps(process_identity()))"
    dead = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    JobLog(workspace.create().root, "job").add("started", {"process": dead})
    assert [state for _, state in follow_job(workspace, "job")] == ["failed"]


def test_an_unknown_job_is_refused(workspace: Workspace) -> None:
    with pytest.raises(UserError, match="there is no job 'x'"):
        next(follow_job(workspace.create(), "x"))


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.2, "0 s"), (59, "59 s"), (61, "1 min 01 s"), (3600, "1 h 00 min"), (9000, "2 h 30 min")]
)
def test_durations_are_printed_in_minutes_and_hours(seconds: float, said: str) -> None:
    assert duration(seconds) == said
