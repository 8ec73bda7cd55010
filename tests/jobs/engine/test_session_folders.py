"""Ray's folders of runs that were killed are deleted by a later one, and no others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.core.processes import process_identity
from jobs.engine import session_folders
from jobs.storage.spare_files import this_machine
from tests.machines import without_ray
from tests.waiting import PATIENCE_S, wait_until

pytestmark = pytest.mark.process


def session(root: Path, name: str, process: dict[str, object] | None, age_s: float = 7200) -> Path:
    """Make the folder of a session, as a process has left it."""
    made = root / "ray" / f"session_2026-12-01_00-00-00_{name}"
    (made / "logs").mkdir(parents=True)
    (made / "logs/raylet.out").touch()
    if process is not None:
        (made / "winnow.json").write_text(json.dumps(process))
    for path in (made / "winnow.json", made / "logs", made):
        if path.exists():
            then = path.stat().st_mtime - age_s
            os.utime(path, (then, then))
    return made


def dead() -> dict[str, object]:
    with subprocess.Popen(["sleep", "60"]) as process:
        identity = process_identity(process.pid)
        process.kill()
    return {**identity, "machine": this_machine()}


def test_only_what_dead_processes_of_this_machine_left_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    assert session_folders.clear() == []
    ended = dead()
    left = session(tmp_path, "1", ended)
    kept = [
        session(tmp_path, "2", {**process_identity(), "machine": this_machine()}),
        session(tmp_path, "3", {**ended, "host": "another"}),
        session(tmp_path, "4", {**ended, "machine": "00000000"}),
        session(tmp_path, "5", None),
        session(tmp_path, "6", {"pid": 1}),
        session(tmp_path, "7", ended, age_s=60),
        at_work := session(tmp_path, "8", ended),
    ]
    # A process of the cluster outlives its driver.
    with subprocess.Popen(
        [sys.executable, "-c", "input()", f"--session-dir={at_work}"], stdin=subprocess.PIPE
    ) as raylet:
        wait_until(lambda: str(at_work) in Path(f"/proc/{raylet.pid}/cmdline").read_text())
        assert session_folders.clear() == [left]
        assert sorted((tmp_path / "ray").iterdir()) == kept
        assert session_folders.clear() == []
        assert raylet.stdin
        raylet.stdin.close()
    assert session_folders.clear() == [at_work]
    assert session_folders.clear(least_age_s=0) == [kept[5]]


_KILLED = """
import os, time
from conf import Resources
from jobs.engine.ray_engine import Engine
with Engine(Resources(num_cpus=1)) as engine:
    print(engine._session, flush=True)
    time.sleep(600)
"""


@pytest.mark.engine
@pytest.mark.slow
def test_the_folder_of_a_killed_engine_is_left_to_the_next_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Names of sockets are short.
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")
    with subprocess.Popen(
        [sys.executable, "-c", _KILLED], stdout=subprocess.PIPE, text=True, env=without_ray(), cwd=tmp_path
    ) as process:
        assert process.stdout
        made = Path(process.stdout.readline().strip())
        assert made.name.startswith("session_")
        assert made not in session_folders.clear(least_age_s=0)
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE_S)
    assert (made / "winnow.json").exists()
    wait_until(lambda: made in session_folders.clear(least_age_s=0))
    assert not made.exists()
