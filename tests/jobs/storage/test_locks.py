from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.storage.locks import FileLock, lock_holder
from jobs.storage.paths import place

HOLD = """
import pathlib, sys, time
from jobs.storage.locks import FileLock
print(FileLock(pathlib.Path(sys.argv[1])).take({"pid": 7}), flush=True)
time.sleep(60)
"""


@pytest.mark.process
def test_a_lock_has_one_holder_and_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "below" / "a.lock"
    assert lock_holder(place(path)) is None
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    assert lock_holder(place(path)) == {"pid": 7}
    assert not FileLock(path).take({"pid": 8})
    assert lock_holder(place(path)) == {"pid": 7}
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert lock_holder(place(path)) is None
    lock = FileLock(path)
    assert lock.take({"pid": 9})
    assert lock_holder(place(path)) == {"pid": 9}
    lock.release()
    assert lock_holder(place(path)) is None
    assert path.exists()
