"""Rounds of faults: something dies, is stopped or runs out at a random moment, and going on once sets all right.

`WINNOW_FAULT_ROUNDS` says how many rounds, `WINNOW_FAULT_SEED` which; `WINNOW_FAULTS` names kinds, with
commas, where not all are wanted; `make faults` runs thirty rounds and prints each one.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

import schemas
from jobs.dispatch.job_queue import JobQueue
from jobs.records.job_log import JobLog, jobs_of
from jobs.storage.paths import place
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.faults import clock, files, maintenance, model_server, reviews, schedules
from tests.faults.trial import SEED, N, Round, winnow
from tests.helpers import assert_one_live_row, assert_same_tables, go, rows
from tests.marks import MACHINES
from tests.processes import finished, start
from tests.waiting import ended, wait_until

pytestmark = pytest.mark.xdist_group(MACHINES)

ROUNDS = int(os.environ.get("WINNOW_FAULT_ROUNDS", "2"))


def processes() -> Iterator[tuple[int, int, str]]:
    """Yield number, parent's number and command line of every process."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
        yield int(entry.name), parent, command


def workers() -> list[int]:
    """Return the processes below this one that measure: those of runs, and those of Ray that are at work.

    Not those that this process itself keeps between its own runs (`tests.idle_workers`): no round has started them.
    """
    all_of_them = list(processes())
    ours = {os.getpid()}
    while more := {pid for pid, parent, _ in all_of_them if parent in ours} - ours:
        ours |= more
    return [
        pid
        for pid, parent, said in all_of_them
        if pid in ours and (_measures_for_ray(said) or (parent != os.getpid() and _measures(said)))
    ]


def _measures(said: str) -> bool:
    return "jobs.engine.local_pool" in said


def _measures_for_ray(said: str) -> bool:
    return said.startswith("ray::") and "MapBatches" in said


def driver_killed(trial: Round) -> None:
    process = trial.begin()
    trial.wait(process)
    process.kill()
    process.communicate()
    trial.go_on()


def driver_stopped(trial: Round) -> None:
    process = trial.begin()
    trial.wait(process)
    process.send_signal(signal.SIGTERM)
    _, _, said = ended(process)
    # Nothing was on record yet; it was paused; it was done by then; or it was killed before Python could answer.
    assert process.returncode in {130, 4, 0, -signal.SIGTERM}, said
    assert "Traceback" not in said
    trial.go_on()


def worker_killed(trial: Round) -> None:
    process = trial.begin()
    for _ in range(trial.random.randrange(1, 4)):
        trial.wait(process)
        if found := workers():
            os.kill(trial.random.choice(sorted(found)), signal.SIGKILL)
    finished(process)


def raylet_killed(trial: Round) -> None:
    machines = trial.machines()
    process = start(trial.place, trial.stream, settings=trial.settings, address=machines.address)
    trial.wait(process)
    machines.kill_one()
    finished(process)
    machines.add_one()


def gateway_killed(trial: Round) -> None:
    job_id = trial.submit()
    gateway = trial.gateway()
    trial.wait(gateway)
    gateway.kill()
    gateway.communicate()
    # Its job notices, and goes back into the queue; or it is done, or ended before it could say so.
    trial.serve(job_id, "done")


def gateway_and_job_killed(trial: Round) -> None:
    job_id = trial.submit()
    gateway = trial.gateway()
    trial.wait(gateway)
    gateway.send_signal(signal.SIGSTOP)
    state = JobLog(place(trial.place), job_id).state()
    if state and state.state == "running" and state.holder:
        os.kill(int(state.holder["pid"]), signal.SIGKILL)
    gateway.kill()
    gateway.communicate()
    trial.serve(job_id, "done")


def gateway_stopped(trial: Round) -> None:
    job_id = trial.submit()
    gateway = trial.gateway()
    trial.wait(gateway)
    gateway.send_signal(signal.SIGTERM)
    _, _, said = ended(gateway)
    assert gateway.returncode == 0, said
    assert trial.state(job_id) in {"pending", "done"}
    trial.serve(job_id, "done")


def job_paused_and_restarted(trial: Round) -> None:
    process = trial.begin()
    trial.wait(process)
    (job_id,) = jobs_of(place(trial.place)) or [""]
    if job_id and trial.state(job_id) == "running":
        subprocess.run(winnow("job", "pause", job_id, trial.place), capture_output=True, check=False)
    _, _, said = ended(process)
    assert process.returncode in {4, 0}, said
    trial.go_on()


def queued_job_paused_and_restarted(trial: Round) -> None:
    job_id = trial.submit()
    gateway = trial.gateway()
    trial.wait(gateway)
    subprocess.run(winnow("job", "pause", job_id, trial.place), capture_output=True, check=False)
    wait_until(lambda: trial.state(job_id) in {"paused", "done"})
    gateway.kill()
    gateway.communicate()
    if trial.state(job_id) != "done":
        done = subprocess.run(winnow("job", "resume", job_id, trial.place), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    trial.serve(job_id, "done")


def disk_full(trial: Round) -> None:
    size = trial.random.randrange(150, 900)
    mounted = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(trial.folder)]
    if subprocess.run(mounted, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small file system")
    process = trial.begin()
    _, _, said = ended(process)
    assert process.returncode in {0, 1}, said
    assert process.returncode == 0 or "the disk is full" in said
    assert "Traceback" not in said
    subprocess.run(["mount", "-o", "remount,size=64m", str(trial.folder)], check=True)
    trial.go_on()


FAULTS = (
    driver_killed,
    worker_killed,
    raylet_killed,
    gateway_killed,
    disk_full,
    driver_stopped,
    gateway_and_job_killed,
    job_paused_and_restarted,
    gateway_stopped,
    queued_job_paused_and_restarted,
    *maintenance.FAULTS,
    *reviews.FAULTS,
    *schedules.FAULTS,
    *clock.FAULTS,
    *files.FAULTS,
    *model_server.FAULTS,
)
ONLY = os.environ.get("WINNOW_FAULTS", "").split(",")


@pytest.fixture(scope="module")
def expected(
    tmp_path_factory: pytest.TempPathFactory, sample_folder: Path, sample_tables: Workspace
) -> Callable[[tuple[str, ...]], Workspace]:
    """Give the sample run without any trouble, with the settings of a round."""

    @cache
    def run_with(more: tuple[str, ...]) -> Workspace:
        if not more:
            return sample_tables
        made = Workspace.at(tmp_path_factory.mktemp("expected") / "tables")
        go(made, sample_folder, settings=more)
        return made

    return run_with


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("number", range(ROUNDS))
@pytest.mark.slow
def test_after_any_fault_one_more_run_gives_the_rows_of_an_undisturbed_one(
    number: int,
    tmp_path: Path,
    sample_folder: Path,
    expected: Callable[[tuple[str, ...]], Workspace],
    request: pytest.FixtureRequest,
) -> None:
    order = [fault for fault in FAULTS if not any(ONLY) or fault.__name__ in ONLY]
    random.Random(f"{SEED}-{number // len(order)}").shuffle(order)
    fault = order[number % len(order)]
    trial = Round(number, tmp_path, sample_folder, lambda: request.getfixturevalue("machines"))
    print(
        f"\nround {number} of seed {SEED}: {fault.__name__} {trial.delay:.2f} s after row {trial.rows} of {N}"
        f"{', with a model' if trial.more else ''}{', alone' if trial.alone else ''}",
        flush=True,
    )
    try:
        fault(trial)
        workspace = Workspace.at(trial.place)
        assert_one_live_row(workspace)
        assert_same_tables(workspace, expected(trial.more), trial.without)
        # Every job is there once, and done, in the queue and in the tables.
        known = jobs_of(place(trial.place))
        assert [(job.job_id, job.state.state) for job in JobQueue(place(trial.place)).jobs()] == [
            (j, "done") for j in known
        ]
        runs = View.of(workspace).lazy("runs").collect()
        assert sorted(runs["job_id"].to_list()) == known
        assert set(runs["state"]) == {"done"}
        assert rows(workspace, schemas.QUARANTINE).is_empty()
        # Nothing is left running.
        wait_until(lambda: not [said for _, _, said in processes() if str(trial.place) in said])
        wait_until(lambda: not workers())
        assert not list(trial.place.glob("jobs/*/.drain-*"))
    finally:
        subprocess.run(["umount", "-l", str(trial.folder)], capture_output=True, check=False)
