"""What is said of a disk, or a place on it, that does not do what it is asked: what, why, and what helps."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from jobs.errors import one_line

_TEMPORARY = re.compile(r"\.(.+?)\.\d+(\.[0-9a-f]+)?\.(tmp|partial|old)")
_SAID = re.compile(r"(?:os error|errno) (\d+)", re.IGNORECASE)
_QUOTED = re.compile(r"(?:file|directory)[^/]{0,40}?['\"]?(/[^'\":#]+)")
_WRITING = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY}
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


def as_problem(error: OSError, about: str | None = None) -> str:
    """Return an error of the operating system as one line; `about` is what was at stake where it does not name that."""
    text = one_line(error)
    said = _SAID.search(text)
    number = error.errno or (int(said[1]) if said else None)
    names = [os.fsdecode(n) for n in (error.filename2, error.filename) if isinstance(n, (str, bytes))]
    if not names and (found := _QUOTED.search(text)):
        names = [found[1]]
    if number is None or (not names and about is None and number not in _WHY):
        return f"{about}: {text}" if about else text
    shown = [_as_named(name) for name in names]
    writing = number in _WRITING or shown != names
    what = shown[0] if shown else about or "a file"
    if about and shown and not shown[0].startswith(about.rpartition(" ")[2]):
        what = f"{about}: {what}"
    return (
        f"{what} cannot be {'written' if writing else 'read or written'}: {'; '.join(_reason(number, what, writing))}"
    )


def _reason(number: int, what: str, writing: bool) -> tuple[str, ...]:
    if number == errno.ENOENT and writing:
        parent = Path(what).parent
        if parent.is_dir():
            return "the file system takes no such file there", "name another place"
        return f"there is no folder {parent}", "make it first, or name another place"
    if number == errno.ENOENT:
        return "it is not there", "if it is a file of the tables, `winnow doctor` says what else is missing"
    return _WHY.get(number, (os.strerror(number),))


def _as_named(path: str) -> str:
    """Return the path that a user knows: files are written beside their place, under a name of the moment."""
    temporary = _TEMPORARY.fullmatch(Path(path).name)
    return str(Path(path).with_name(temporary[1])) if temporary else path
