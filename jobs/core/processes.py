"""Identity of processes, and whether they have ended. Imports little, for programs that only wait."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

_COMMANDS: set[int] = set()
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def process_identity(pid: int | None = None) -> dict[str, Any]:
    """Return what identifies a process, this one by default, uniquely on this machine and over restarts."""
    pid = os.getpid() if pid is None else pid
    return {"host": socket.gethostname(), "boot": _boot(), "pid": pid, "pid_started": _started(pid)}


@cache
def _boot() -> str:
    return _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""


def _started(pid: int) -> str:
    """Return when a process started, in the kernel's ticks; empty if it does not exist or this is unknown."""
    try:
        # Fields 3 and 22 of /proc/PID/stat, counted after the name, which may contain spaces (proc(5)).
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    # A zombie (ended, but not waited for by its parent) is still listed.
    return "" if state in "ZX" else fields[18]


def mark_as_command() -> None:
    """Record that this process is one command of ours, whose whole time is what the command takes."""
    _COMMANDS.add(os.getpid())


def command_start_ns() -> int | None:
    """Return when the process of this command started, in ns since 1970, to a hundredth of a second.

    None in processes that do other things as well, and where the system does not say it.
    """
    ticks = _started(os.getpid())
    if os.getpid() not in _COMMANDS or not ticks or not hasattr(time, "CLOCK_BOOTTIME"):
        return None
    running = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - int(ticks) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    return time.time_ns() - max(0, running)


def is_here(process: Mapping[str, Any]) -> bool:
    """Return whether a process belongs to this machine."""
    return process.get("host") == socket.gethostname()


def has_ended(process: Mapping[str, Any]) -> bool:
    """Return whether a process is known to have ended; False for processes of other machines."""
    if not is_here(process):
        return False
    if process.get("boot") != _boot():
        return True
    if not process.get("pid_started"):
        return not _exists(int(process["pid"]))
    return _started(int(process["pid"])) != process["pid_started"]


def _exists(pid: int) -> bool:
    """Return whether a process of this id exists, on systems that do not tell when it started."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
