from __future__ import annotations

import subprocess
import sys
import time

import pytest

from jobs.core.processes import command_start_ns
from tests.reference import ROOT


@pytest.mark.process
def test_a_command_knows_when_its_process_started() -> None:
    assert command_start_ns() is None
    code = (
        "import time; from jobs.core.processes import *; before = command_start_ns(); mark_as_command(); "
        "time.sleep(0.2); print(before, (time.time_ns() - command_start_ns()) / 1e9)"
    )
    began = time.monotonic()
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT).stdout
    before, seconds = said.split()
    assert before == "None"
    # To a hundredth of a second, in which the kernel counts.
    assert 0.2 <= float(seconds) <= time.monotonic() - began + 0.02
