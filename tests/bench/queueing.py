"""What the queue costs: a gateway that waits, and a job from its submission, or its resumption, to a commit."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jobs.dispatch import daemon
from jobs.dispatch.overview import rss_mb
from jobs.dispatch.submit import submit
from jobs.records.job_log import JobLog
from jobs.records.journal import events
from jobs.runs.run_options import RunOptions
from jobs.storage.paths import place

_PATIENCE_S = 300
_EVERY_S = 0.05


@contextmanager
def gateway(root: Path) -> Iterator[int]:
    """Run a gateway in the background and yield its process number."""
    try:
        yield int(daemon.start(place(root), ())["pid"])
    finally:
        daemon.stop(place(root))


def idle_cost(pid: int, seconds: float) -> tuple[float, float]:
    """Return the share of one core in percent, and the memory in MB, that a process takes meanwhile."""
    before = _cpu_s(pid)
    time.sleep(seconds)
    return 100 * (_cpu_s(pid) - before) / seconds, rss_mb(pid) or 0.0


def _cpu_s(pid: int) -> float:
    # Fields 14 and 15 of /proc/PID/stat, in the kernel's ticks (proc(5)).
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def life_of_a_job(root: Path, frames: Path) -> dict[str, float]:
    """Submit a job, pause it after its first commit, resume it, and return how long each took to show, in seconds."""
    asked_ns = time.time_ns()
    job_id = submit(root, RunOptions(inputs=[str(frames)]))
    job_log = JobLog(place(root), job_id)
    first = _once(lambda: _commit(root, job_id, attempt=1))
    pause = job_log.add("pause")
    _once(lambda: (state := job_log.state()) is not None and state.state == "paused")
    paused = job_log.last()
    resume = job_log.add("resume")
    second = _once(lambda: _commit(root, job_id, attempt=2))
    _once(lambda: (state := job_log.state()) is not None and state.ended)
    assert pause is not None
    assert paused is not None
    assert resume is not None
    return {
        "first_commit_s": (first["at_ns"] - asked_ns) / 1e9,
        "paused_s": (paused.at_ns - pause.at_ns) / 1e9,
        "resumed_s": (second["at_ns"] - resume.at_ns) / 1e9,
    }


def _commit(root: Path, job_id: str, attempt: int) -> dict[str, Any] | None:
    found = (e for e in events(place(root), job_id) if e["event"] == "committed" and e["attempt"] == attempt)
    return next(found, None)


def _once(look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + _PATIENCE_S
    while not (found := look()):
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(_EVERY_S)
    return found
