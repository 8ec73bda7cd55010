from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from jobs.core.processes import process_identity
from jobs.dispatch.job_queue import HEARTBEAT, LOOP, SILENCE_S, JobQueue, QueuedJob, due_jobs
from jobs.records.job_log import JobLog
from jobs.storage.paths import place
from tests.waiting import PATIENCE_S, ended


def submitted(root: Path, job_id: str, **data: Any) -> JobLog:
    job_log = JobLog(place(root), job_id)
    job_log.add("submitted", {"request": {}, **data}, after=0)
    return job_log


def only(queue: JobQueue) -> QueuedJob:
    (job,) = queue.jobs()
    return job


def dead_process() -> dict[str, Any]:
    code = "import json; from jobs.core.processes import process_identity; print(json.dumps(process_identity()))"
    return json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)


def test_the_highest_priority_is_first_and_then_the_oldest(tmp_path: Path) -> None:
    for name, priority in (("b", 0), ("c", 5), ("a", 0), ("d", 5)):
        submitted(tmp_path, name, priority=priority)
    jobs = JobQueue(place(tmp_path)).jobs()
    assert [j.job_id for j in due_jobs(jobs, time.time_ns())] == ["c", "d", "b", "a"]


def test_steps_of_a_loop_are_for_its_own_job_and_what_waits_is_due_later(tmp_path: Path) -> None:
    submitted(tmp_path, "step", to=LOOP)
    later = submitted(tmp_path, "waits")
    at = time.time_ns() + 10**12
    later.add("claimed", {"process": process_identity()})
    later.add("requeued", {"reason": "waits for people", "not_before_ns": at})
    jobs = JobQueue(place(tmp_path)).jobs()
    assert due_jobs(jobs, at - 1) == []
    assert [job.job_id for job in due_jobs(jobs, at)] == ["waits"]
    assert [job.failures for job in jobs] == [0, 0]


def test_only_pending_jobs_have_a_place_in_the_queue(tmp_path: Path) -> None:
    submitted(tmp_path, "claimed").add("claimed", {"process": process_identity()})
    submitted(tmp_path, "paused").add("pause")
    submitted(tmp_path, "cancelled").add("cancel")
    JobLog(place(tmp_path), "by-hand").add("started", {"process": process_identity()})
    later = submitted(tmp_path, "later")
    later.add("claimed", {"process": process_identity()})
    later.add("requeued", {"failed": True, "not_before_ns": time.time_ns() + 60 * 10**9})
    submitted(tmp_path, "due")
    queue = JobQueue(place(tmp_path))
    assert [j.job_id for j in due_jobs(queue.jobs(), time.time_ns())] == ["due"]
    in_a_while = time.time_ns() + 61 * 10**9
    assert [j.job_id for j in due_jobs(queue.jobs(), in_a_while)] == ["later", "due"]
    # After the clock was set back by an hour, its time would come in an hour only.
    an_hour_ago = time.time_ns() - 3600 * 10**9
    assert [j.job_id for j in due_jobs(queue.jobs(), an_hour_ago)] == ["later", "due"]


def test_a_request_at_any_moment_is_seen_at_the_next_poll(tmp_path: Path) -> None:
    job_log = submitted(tmp_path, "job")
    queue = JobQueue(place(tmp_path))
    for word in ("claimed", "started", "pause", "resume", "paused", "resume", "claimed", "done"):
        job_log.add(word, {"process": process_identity()})
        assert only(queue).records[-1].word == word
    folder = tmp_path / "jobs" / "job"
    os.utime(folder, ns=(0, 0))
    assert only(queue).state.state == "done"
    # From here on the folder is known not to have changed.
    assert only(queue) is only(queue)


def test_failed_attempts_count_since_the_last_request(tmp_path: Path) -> None:
    job_log = submitted(tmp_path, "job")
    queue = JobQueue(place(tmp_path))
    for failures in (1, 2):
        assert queue.claim(only(queue))
        assert queue.requeue(only(queue), "no memory", wait_s=0)
        assert (only(queue).failures, only(queue).error) == (failures, "no memory")
    assert queue.claim(only(queue))
    assert only(queue).state.attempts == 3
    # What a gateway puts back when it stops is nobody's failure.
    job_log.add("requeued", {})
    assert only(queue).failures == 2
    assert queue.claim(only(queue))
    assert queue.give_up(only(queue), "no memory")
    assert only(queue).state.state == "failed"
    job_log.add("resume")
    assert (only(queue).failures, only(queue).error, only(queue).state.state) == (0, None, "pending")


def test_a_claim_after_an_unseen_record_fails(tmp_path: Path) -> None:
    job_log = submitted(tmp_path, "job")
    queue = JobQueue(place(tmp_path))
    before = only(queue)
    job_log.add("cancel")
    assert not queue.claim(before)
    assert only(queue).state.state == "cancelled"


@pytest.mark.process
def test_a_job_whose_process_has_died_is_abandoned(tmp_path: Path) -> None:
    job_log = submitted(tmp_path, "job")
    queue = JobQueue(place(tmp_path))
    assert not queue.is_abandoned(only(queue))
    job_log.add("claimed", {"process": process_identity()})
    assert not queue.is_abandoned(only(queue))
    job_log.add("started", {"process": dead_process()})
    assert queue.is_abandoned(only(queue))


def test_a_process_of_another_machine_is_dead_without_heartbeats(tmp_path: Path) -> None:
    elsewhere = {"host": "elsewhere", "boot": "", "pid": 1, "pid_started": "1"}
    submitted(tmp_path, "job").add("started", {"process": elsewhere})
    queue = JobQueue(place(tmp_path))
    folder = tmp_path / "jobs" / "job"
    beat = folder / HEARTBEAT
    beat.touch()
    assert not queue.is_abandoned(only(queue))
    for path in folder.iterdir():
        os.utime(path, (time.time() - SILENCE_S - 5,) * 2)
    assert queue.is_abandoned(only(queue))
    beat.touch()
    assert not queue.is_abandoned(only(queue))


def test_a_job_that_nobody_can_read_hides_no_other(tmp_path: Path) -> None:
    submitted(tmp_path, "good")
    submitted(tmp_path, "bad")
    (tmp_path / "jobs" / "bad" / "000002.json").write_text("{")
    queue = JobQueue(place(tmp_path))
    assert only(queue).job_id == "good"
    assert list(queue.unreadable) == ["bad"]
    assert "is no record of a job" in queue.unreadable["bad"]


CLAIM = """
import sys, time
from jobs.dispatch.job_queue import JobQueue, due_jobs
from jobs.storage.paths import place
queue, mine = JobQueue(place(sys.argv[1])), []
# Until every job is over, by whichever process.
while True:
    jobs = queue.jobs()
    if len(jobs) == 20 and all(j.state.ended for j in jobs):
        break
    for job in due_jobs(jobs, time.time_ns()):
        if queue.claim(job):
            mine.append(job.job_id)
            assert queue.job_log(job.job_id).add("done", {})
            break
    else:
        # Others of them need the processor, too.
        time.sleep(0.001)
print(*mine)
"""
SUBMIT = """
import sys
from jobs.records.job_log import JobLog
from jobs.storage.paths import place
for number in range(5):
    JobLog(place(sys.argv[1]), f"{sys.argv[2]}-{number}").add("submitted", {"priority": number}, after=0)
"""


@pytest.mark.process
def test_twenty_jobs_of_four_processes_are_each_claimed_once_by_three(tmp_path: Path) -> None:
    claimants = [
        subprocess.Popen([sys.executable, "-c", CLAIM, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    writers = [subprocess.Popen([sys.executable, "-c", SUBMIT, str(tmp_path), f"w{n}"]) for n in range(4)]
    assert [process.wait(PATIENCE_S) for process in writers] == [0] * 4
    claimed = [name for process in claimants for name in ended(process)[1].split()]
    assert [process.returncode for process in claimants] == [0] * 3
    assert sorted(claimed) == [f"w{w}-{n}" for w in range(4) for n in range(5)]
    words = [[r.word for r in job.records] for job in JobQueue(place(tmp_path)).jobs()]
    assert words == [["submitted", "claimed", "done"]] * 20


def test_the_queue_keeps_ended_jobs_small_and_forgets_cleared_ones(tmp_path: Path) -> None:
    for name in ("live", "over"):
        submitted(tmp_path, name, request={"config": "x" * 1000}, schedule="nightly")
    JobLog(place(tmp_path), "over").add("done")
    queue = JobQueue(place(tmp_path))
    for _ in range(2):
        live, over = queue.jobs()
        assert live.submitted["request"]["config"]
        assert over.submitted == {"schedule": "nightly"}
        assert [job.job_id for job in queue.live()] == ["live"]
    shutil.rmtree(tmp_path / "jobs" / "over")
    assert only(queue).job_id == "live"
    shutil.rmtree(tmp_path / "jobs")
    assert queue.jobs() == []
