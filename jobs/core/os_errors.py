"""Messages for errors of the operating system: what failed, why, and how to fix it."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from jobs.core.errors import one_line

_TEMPORARY = re.compile(r"\.(.+?)\.\d+(\.[0-9a-f]+)?\.(tmp|partial|old)")
_SAID = re.compile(r"(?:os error|errno) (\d+)", re.IGNORECASE)
_QUOTED = re.compile(r"(?:file|directory)[^/]{0,40}?['\"]?(/[^'\":#]+)")
_WRITING = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY}
_PATH = re.compile(r"(/\S[^:]*)$")
_BY_KIND = {FileNotFoundError: errno.ENOENT, PermissionError: errno.EACCES}
_DAMAGED = "CRC checksum verification failed"
_LOST = "bring it back from a backup, or run the streams again under another --workspace"
_WHY = {
    errno.ENOSPC: ("the disk is full", "free some space, then run this again"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, then run this again"),
    errno.EROFS: ("the file system is read-only", "name a place that can be written"),
    errno.EACCES: ("permission denied", "name another place, or ask its owner for leave"),
    errno.EPERM: ("permission denied", "name another place, or ask its owner for leave"),
    errno.EISDIR: ("it is a folder", "name a file"),
    errno.ENOTDIR: ("what should be a folder on the way there is a file", "name another place"),
    errno.ENAMETOOLONG: ("the name is too long", "name a shorter one"),
    errno.EMFILE: ("too many files are open", "raise the limit with `ulimit -n`, then run this again"),
}


def damage_in(error: BaseException) -> str | None:
    """Return what to say of an error that a reader raises for a damaged data file, which it does not name."""
    if _DAMAGED not in str(error):
        return None
    return "a data file of the tables is damaged, by its own checksums; `winnow doctor --verify` names it, with the fix"


def as_problem(error: OSError, about: str | None = None) -> str:
    """Return an error of the operating system as one line; `about` describes what failed if the error has no path."""
    if damage := damage_in(error):
        return damage
    text = one_line(error)
    said = _SAID.search(text)
    number = error.errno or (int(said[1]) if said else _BY_KIND.get(type(error)))
    names = [os.fsdecode(n) for n in (error.filename2, error.filename) if isinstance(n, (str, bytes))]
    if not names and (found := _QUOTED.search(text) or _PATH.match(text)):
        names = [found[1]]
    if number is None or (not names and about is None and number not in _WHY):
        return f"{about}: {text}" if about else text
    shown = [_as_named(name) for name in names]
    writing = number in _WRITING or shown != names
    what = shown[0] if shown else about or "a file"
    is_below = not about or not shown or what.startswith(about.rpartition(" ")[2])
    before = "" if is_below else f"{about}: "
    verb = "written" if writing else "read" if number == errno.ENOENT else "read or written"
    return f"{before}{what} cannot be {verb}: {'; '.join(_reason(number, what, writing))}"


def _reason(number: int, what: str, writing: bool) -> tuple[str, ...]:
    if number == errno.ENOENT and writing:
        parent = Path(what).parent
        if parent.is_dir():
            return "the file system takes no such file there", "name another place"
        return f"there is no folder {parent}", "make it first, or name another place"
    if number == errno.ENOENT:
        return "it is not there", _LOST if what.endswith(".parquet") else "name one that is"
    return _WHY.get(number, (os.strerror(number),))


def _as_named(path: str) -> str:
    """Return the final path of a file that is written under a temporary name."""
    temporary = _TEMPORARY.fullmatch(Path(path).name)
    return str(Path(path).with_name(temporary[1])) if temporary else path
