"""Waits for what a test needs, however long a busy machine takes over it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE_S = 600.0
"""Ends what hangs. No test relies on anything being done sooner."""

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T],
    what: str = "the condition did not come true",
    every_s: float = 0.05,
    process: subprocess.Popen[str] | None = None,
) -> T:
    """Return what `condition` returns as soon as that is true, asked every `every_s` seconds.

    Raises `AssertionError` that says `what` where nothing comes of it, or where `process` ends before.
    """
    deadline = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert process is None or process.poll() is None, f"{what}: the process ended with {process.returncode}"
        assert time.monotonic() < deadline, what
        time.sleep(every_s)
    return found


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for the end of a process; return its exit code, its output and its errors."""
    out, err = process.communicate(timeout=PATIENCE_S)
    return process.returncode, out, err
