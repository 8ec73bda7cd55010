"""Folders of Ray's sessions that our processes started, and what those that were killed left of them.

Ray writes logs and sockets of a cluster to a temporary folder, and nothing deletes them. A run deletes those of its own
cluster at its end. Here are those of runs that had no end: only such as carry our mark, belong to this account, and are
of a process of this machine that has ended, with no other one at work in them.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import gettempdir

from jobs.core.processes import has_ended, process_identity
from jobs.storage.spare_files import this_machine

_MARK = "winnow.json"
_KEPT_S = 3600.0
"""For how long they are kept (seconds after their last change): somebody may want to read the logs."""


def mark(session: Path) -> None:
    """Note in the folder of a session that this process started it."""
    with suppress(OSError):
        (session / _MARK).write_text(json.dumps({**process_identity(), "machine": this_machine()}), encoding="utf-8")


def clear(least_age_s: float = _KEPT_S) -> list[Path]:
    """Delete the folders of sessions that dead processes of ours left, and return them."""
    root = _root()
    found = [path for path in sorted(root.glob("session_2*")) if _is_left(path, least_age_s)] if root.is_dir() else []
    # The processes of a cluster end some seconds after its driver.
    at_work = list(_command_lines()) if found else []
    deleted = [path for path in found if not any(path.name in words for words in at_work)]
    for path in deleted:
        shutil.rmtree(path, ignore_errors=True)
    return deleted


def _root() -> Path:
    """Return where Ray puts the folders of its sessions, without importing it."""
    named = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR")
    return Path(named or ("/tmp" if Path("/tmp").is_dir() else gettempdir())) / "ray"  # noqa: S108 - as Ray has it


def _is_left(session: Path, least_age_s: float) -> bool:
    try:
        status = (session / _MARK).lstat()
        process = json.loads((session / _MARK).read_text(encoding="utf-8"))
        changed = max(status.st_mtime, *(path.stat().st_mtime for path in (session, session / "logs") if path.is_dir()))
        return (
            status.st_uid == os.geteuid()
            and process["machine"] == this_machine()
            and has_ended(process)
            and time.time() - changed >= least_age_s
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _command_lines() -> Iterator[str]:
    """Yield the command line of every process that can be read."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            yield path.read_bytes().decode(errors="replace")
