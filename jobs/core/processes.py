"""Which process does what: told from every other, and known to be gone. Imports little, for programs that wait."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def process_identity(pid: int | None = None) -> dict[str, Any]:
    """Return what tells a process, this one by default, from every other on this machine since it was started."""
    pid = os.getpid() if pid is None else pid
    return {"host": socket.gethostname(), "boot": _boot(), "pid": pid, "pid_started": _started(pid)}


@cache
def _boot() -> str:
    return _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""


def _started(pid: int) -> str:
    """Return when a process started, in the kernel's ticks; empty if it is not there or cannot be told."""
    try:
        # Fields 3 and 22 of /proc/PID/stat, counted behind the name, which may hold spaces (proc(5)).
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    # One that has ended and that nobody has asked after is still listed, without an address space.
    return "" if state in "ZX" else fields[18]


def is_here(process: Mapping[str, Any]) -> bool:
    """Say whether a process belongs to this machine."""
    return process.get("host") == socket.gethostname()


def has_ended(process: Mapping[str, Any]) -> bool:
    """Say whether a process is known to be gone; of other machines nothing is known."""
    if not is_here(process):
        return False
    if process.get("boot") != _boot():
        return True
    if not process.get("pid_started"):
        return not _exists(int(process["pid"]))
    return _started(int(process["pid"])) != process["pid_started"]


def _exists(pid: int) -> bool:
    """Say whether there is a process of this number, where the system tells no more of it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
