"""Kills in the middle of a commit, of `tables optimize`, of `tables vacuum` and of `release create`."""

from __future__ import annotations

import subprocess
import time

from tests.faults.trial import Round, winnow
from tests.processes import finished, start
from tests.waiting import wait_until


def killed(trial: Round, *words: object) -> None:
    """Start a command on the workspace, and kill it at a random moment, if it has not ended by then."""
    process = subprocess.Popen(winnow(*words, trial.place), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(trial.random.uniform(0.3, 2.5))
    process.kill()
    process.wait()


def done(trial: Round, *words: object) -> str:
    """Run a command on the workspace to its end, and return what it printed."""
    ran = subprocess.run(winnow(*words, trial.place), capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def commit_killed(trial: Round) -> None:
    process = trial.begin()
    log = trial.place / "frames/_delta_log"
    n_commits = trial.random.randrange(1, 8)
    # At the very entry: the file is there, and what follows it is not.
    wait_until(lambda: len(list(log.glob("*.json"))) > n_commits or process.poll() is not None, every_s=0.001)
    process.kill()
    process.communicate()
    trial.go_on()


def optimize_killed(trial: Round) -> None:
    finished(trial.begin())
    for _ in range(2):
        killed(trial, "tables", "optimize")
    done(trial, "tables", "optimize")


def vacuum_killed(trial: Round) -> None:
    settings = (*trial.settings, "image.long_side=320")
    stale = start(trial.place, trial.stream, settings=settings, alone=trial.alone)
    finished(stale)
    finished(trial.begin())
    for _ in range(2):
        killed(trial, "tables", "vacuum", "--retention-hours", "0")
    done(trial, "tables", "vacuum", "--retention-hours", "0")
    done(trial, "doctor", "--quick")


def release_killed(trial: Round) -> None:
    finished(trial.begin())
    killed(trial, "release", "create", "v1")
    again = subprocess.run(winnow("release", "create", "v1", trial.place), capture_output=True, text=True, check=False)
    assert again.returncode == 0 or "v1" in again.stderr, again.stderr
    assert "Traceback" not in again.stderr
    outs = [trial.folder / name for name in ("one", "two")]
    for out in outs:
        killed(trial, "export", "--format", "jsonl", "--release", "v1", "--out", out)
        done(trial, "export", "--format", "jsonl", "--release", "v1", "--out", out)
    one, two = ({path.name: path.read_bytes() for path in out.iterdir()} for out in outs)
    assert one == two
    # Nothing is left next to them of what was killed.
    assert sorted(path.name for path in trial.folder.iterdir()) == ["one", "tables", "two"]


FAULTS = (commit_killed, optimize_killed, vacuum_killed, release_killed)
