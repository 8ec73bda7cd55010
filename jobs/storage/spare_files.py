"""Files and folders that a process writes under a name of its own, and what a process that was killed left of them.

The name says whose it is: `.NAME.PID.MARK.SUFFIX`, where MARK tells machines, containers and restarts apart. What
belongs to a process that lives is never deleted, nor what another account owns.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache, lru_cache
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

from jobs.core.processes import process_identity

_FOLDER = "folder"
_MARK_DIGITS = 8
_OTHER_MACHINE_S = 7 * 24 * 3600
"""For how long what another machine, or an earlier version of Winnow, wrote is taken for being written."""


def spare_name(name: str, suffix: str, token: str = "") -> str:
    """Return the name under which this process writes what is to be called `name`, as in `.set.4711.0a1b….partial`.

    `token` are hexadecimal digits, for one of several threads that write the same.
    """
    pid = os.getpid()
    return f".{name}.{pid}.{this_machine()}{_own(pid)}{token}.{suffix}"


def dead_files(folder: Path, name: str | None, suffix: str) -> list[Path]:
    """Return what processes that have ended left of `name` in a folder, the oldest first; none if there is no folder.

    Without a name, of all names.
    """
    names = ".+" if name is None else re.escape(name)
    spare = re.compile(rf"\.{names}\.(\d+)\.(?:([0-9a-f]{{{2 * _MARK_DIGITS}}})[0-9a-f]*\.)?{re.escape(suffix)}")
    found: list[tuple[float, Path]] = []
    for entry in _entries(folder):
        # A file that is deleted meanwhile is no longer there to delete.
        with suppress(OSError):
            if said := spare.fullmatch(entry.name):
                status = entry.stat(follow_symlinks=False)
                if status.st_uid == os.geteuid() and _is_dead(int(said[1]), said[2], status.st_mtime):
                    found.append((status.st_mtime, Path(entry.path)))
    return [path for _, path in sorted(found)]


def clear(folder: Path, name: str | None, suffix: str, least_age_s: float = 0) -> None:
    """Delete what processes that have ended left of `name` in a folder, if it was written so many seconds ago.

    Without a name, of all names.
    """
    for path in dead_files(folder, name, suffix):
        with suppress(OSError):
            if time.time() - path.lstat().st_mtime >= least_age_s:
                remove(path)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Give a folder among the system's temporary files, and delete it afterwards; those of dead processes go first."""
    own = own_folder()
    try:
        with TemporaryDirectory(dir=own) as folder:
            yield Path(folder)
    finally:
        # Not if another thread has a folder in it.
        with suppress(OSError):
            own.rmdir()


def own_folder(name: str = "winnow", least_age_s: float = 0) -> Path:
    """Return a folder of this process among the system's temporary files, after those of dead processes were deleted.

    `least_age_s`: for how many seconds what a dead process left is kept.
    """
    clear(Path(gettempdir()), name, _FOLDER, least_age_s)
    own = Path(gettempdir(), spare_name(name, _FOLDER))
    own.mkdir(mode=0o700, exist_ok=True)
    return own


def remove(path: Path) -> None:
    """Delete a file, a link (not what it leads to) or a folder, if it is there and as far as that is allowed."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    with suppress(FileNotFoundError, NotADirectoryError, PermissionError), os.scandir(folder) as entries:
        yield from entries


def _is_dead(pid: int, mark: str | None, written_s: float) -> bool:
    """Return whether the process that wrote a file at a time (seconds since 1970) has ended."""
    if mark is None or mark[:_MARK_DIGITS] != this_machine():
        return time.time() - written_s > _OTHER_MACHINE_S
    return mark[_MARK_DIGITS:] != _process(pid)


@cache
def this_machine() -> str:
    """Return a mark of the processes that know each other by their ids: of one machine, and of one container on it."""
    try:
        numbered_in = os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - the text of the link, which leads nowhere
    except OSError:
        numbered_in = ""
    return _hash(f"{process_identity()['host']}\n{numbered_in}")


@lru_cache(maxsize=1)
def _own(pid: int) -> str:
    return _process(pid)


def _process(pid: int) -> str:
    """Return a mark of a process, which no later one of the same id has; that of no process where there is none."""
    known = process_identity(pid)
    return _hash(f"{known['boot']}\n{known['pid_started']}")


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:_MARK_DIGITS]
