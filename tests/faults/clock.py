"""A clock that is set back by an hour between an attempt and the next one."""

from __future__ import annotations

import subprocess
import sys

from jobs.records.job_log import jobs_of
from jobs.runs.job_requests import find
from jobs.storage.paths import place
from jobs.storage.workspace import Workspace
from tests.faults.trial import Round
from tests.machines import without_ray
from tests.processes import finished

# Before anything else is imported: nobody has a clock of before.
_SET_BACK = """
import sys, time
now, now_ns = time.time, time.time_ns
time.time, time.time_ns = lambda: now() - 3600, lambda: now_ns() - 3600 * 10**9
from jobs.cli.app import main
main()
"""


def clock_set_back(trial: Round) -> None:
    process = trial.begin()
    trial.wait(process)
    process.kill()
    process.communicate()
    known = jobs_of(place(trial.place))
    if not known:
        trial.go_on()
        return
    if find(Workspace.at(trial.place), known[0]).state().state != "done":
        words = ["job", "resume", known[0], "--json", "--workspace", str(trial.place)]
        words += ["--ray-address", trial.address] if trial.address else []
        command = [sys.executable, "-c", _SET_BACK, *words]
        environment = without_ray() if trial.alone else None
        pipe = subprocess.PIPE
        finished(subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment))
    # And once more, at the time that it is: nothing is left to do.
    assert not [name for name, stage in finished(trial.begin())["stages"].items() if stage["computed"]]


FAULTS = (clock_set_back,)
