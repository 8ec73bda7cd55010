"""One round of faults: a workspace of its own, a random moment, and what a fault needs to strike and to continue."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import ray

from jobs.dispatch.submit import submit
from jobs.records.job_log import JobLog, jobs_of
from jobs.runs.job_requests import find
from jobs.runs.run_options import RunOptions
from jobs.storage.paths import place
from jobs.storage.workspace import Workspace
from tests.helpers import SMALL
from tests.machines import Machines
from tests.processes import SLOW, finished, n_rows, resume, start, start_gateway
from tests.waiting import ended, wait_until

SEED = int(os.environ.get("WINNOW_FAULT_SEED", "20261121"))
N = SMALL.planted.n_files
# One round in three has a model pass as well.
MODEL = (
    "stages=[quality, fingerprints, motion, scenes, idle, duplicates, curation, annotate]",
    "when.annotate=frame_idx % 2 = 0",
    "moving.history=9",
    "resources.model_frames=8",
)


class Round:
    """A workspace of its own, a random moment, and what a fault needs."""

    def __init__(self, number: int, folder: Path, stream: Path, machines: Callable[[], Machines]) -> None:
        self.machines = machines
        self.random = random.Random(f"{SEED}-{number}")
        self.folder = folder / "disk"
        self.folder.mkdir()
        self.place = self.folder / "tables"
        self.stream = stream
        self.without: tuple[str, ...] = ()
        """Columns that differ from those of the undisturbed run, since the fault needs files of its own."""
        self.use(MODEL if number % 3 == 1 else ())
        self.rows = self.random.randrange(0, N) if self.random.random() < 0.7 else N
        self.delay = self.random.uniform(0, 0.6)
        # As users have it by default, or on a cluster.
        self.alone = self.random.random() < 0.6

    def use(self, more: tuple[str, ...]) -> None:
        """Have the runs of this round settings of their own, as `MODEL`; its tables are those of a run with them."""
        self.more = more
        self.settings = (*SLOW, *more)

    def begin(self) -> subprocess.Popen[str]:
        """Start a run."""
        return start(self.place, self.stream, settings=self.settings, alone=self.alone)

    @property
    def address(self) -> str | None:
        """Return the address of the cluster that the runs of this round use; None where they use none."""
        return None if self.alone else ray.get_runtime_context().gcs_address

    def gateway(self) -> subprocess.Popen[str]:
        """Start a gateway."""
        return start_gateway(self.place, self.alone)

    def submit(self) -> str:
        """Add a run to the queue."""
        Workspace.at(self.place).create()
        options = RunOptions(inputs=[str(self.stream)], settings=self.settings, ray_address=self.address)
        return submit(self.place, options)

    def wait(self, process: subprocess.Popen[str]) -> None:
        """Wait for the moment of the fault, or for the end of what it should strike."""
        wait_until(lambda: n_rows(self.place) >= self.rows or process.poll() is not None)
        time.sleep(self.delay)

    def go_on(self) -> None:
        """Resume once, to the end: what was struck before it was on record is begun again."""
        if not (known := jobs_of(place(self.place))):
            finished(self.begin())
            return
        (job_id,) = known
        # It may have ended between the row that says so and the record.
        if find(Workspace.at(self.place), job_id).state().state != "done":
            finished(resume(self.place, job_id, alone=self.alone))

    def run_again(self) -> None:
        """Resume as `go_on` does; what had reached its end begins again as a run of its own, as users begin one."""
        known = jobs_of(place(self.place))
        if known and find(Workspace.at(self.place), known[0]).state().state != "done":
            self.go_on()
        else:
            finished(self.begin())

    def serve(self, job_id: str, *states: str) -> None:
        """Let a gateway work until the job is in one of some states, and stop it."""
        gateway = self.gateway()
        try:
            wait_until(lambda: self.state(job_id) in states)
        finally:
            gateway.send_signal(signal.SIGTERM)
            code, _, said = ended(gateway)
        assert code == 0, said

    def state(self, job_id: str) -> str:
        """Return the state of a job."""
        found = JobLog(place(self.place), job_id).state()
        return found.state if found else ""


def winnow(*words: object) -> list[str]:
    """Return a command on the workspace that is named last."""
    *given, place = map(str, words)
    return [sys.executable, "-m", "jobs.cli", *given, "--workspace", place]
