"""Places that a workspace, an input or an output can have: files on disk, and objects in a bucket.

Everything that touches them does so through this module, which offers what both can do: whole files that are written
at once, or by whoever is first, and that are read, listed and deleted. Imports little.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from jobs.core.errors import UserError
from transforms.io import object_store

_TEMPORARY = ".tmp"
_HOUR_S = 3600
_REQUESTS = 16


@dataclass(frozen=True, order=True)
class ObjectPath:
    """The place of an object or of a prefix, `s3://bucket/prefix/name`; joined with / as paths are."""

    uri: str

    def __truediv__(self, name: str | PurePosixPath) -> ObjectPath:
        return ObjectPath(f"{self.uri}/{name}")

    def __str__(self) -> str:
        return self.uri

    def __fspath__(self) -> str:
        raise TypeError(f"{self.uri} is no place on a disk")

    @property
    def pure(self) -> PurePosixPath:
        """Return bucket and key as a path, for its parts."""
        return PurePosixPath(self.uri.removeprefix(object_store.SCHEME))

    @property
    def name(self) -> str:
        """Return what follows the last slash."""
        return self.pure.name

    @property
    def stem(self) -> str:
        """Return the name without its suffix."""
        return self.pure.stem

    @property
    def suffix(self) -> str:
        """Return what the name ends in, from its last dot on."""
        return self.pure.suffix

    @property
    def parent(self) -> ObjectPath:
        """Return the place that this one is in."""
        return ObjectPath(self.uri.rpartition("/")[0])

    @property
    def parents(self) -> tuple[ObjectPath, ...]:
        """Return all places that this one is in, the innermost first."""
        return tuple(ObjectPath(f"{object_store.SCHEME}{p}") for p in self.pure.parents if p.parts)

    def relative_to(self, other: Place) -> PurePosixPath:
        """Return how to get here from a place above."""
        return PurePosixPath(self.uri.removeprefix(f"{other}/"))


Place = Path | ObjectPath


class Status(NamedTuple):
    """How large a file is, and when it was last written (seconds since 1970, by the clock of the place)."""

    size_bytes: int
    mtime_s: float


def place(named: str | os.PathLike[str] | ObjectPath) -> Place:
    """Return the place of a path or of a URI, `file://` or `s3://`."""
    if isinstance(named, ObjectPath):
        return named
    text = os.fspath(named)
    if object_store.is_object(text):
        return ObjectPath(text.rstrip("/"))
    return Path(text.removeprefix("file://"))


def absolute(named: str | os.PathLike[str] | ObjectPath) -> Place:
    """Return the place of a path or of a URI, wherever a process stands."""
    at = place(named)
    return at.expanduser().absolute() if isinstance(at, Path) else at


def folder_on_disk(named: str, option: str) -> Path:
    """Return the place of a path. Raises `UserError`, which names the option, for one in a bucket."""
    at = place(named)
    if isinstance(at, ObjectPath):
        raise UserError(f"{option} {named}: expected a folder on disk")
    return at


def is_remote(at: Place) -> bool:
    """Say whether every look at a place is a request to somebody else's machine, which takes its time and its price."""
    return isinstance(at, ObjectPath)


def patience(at: Place, near_s: float, far_s: float) -> float:
    """Return how long to wait between two looks at a place: on disk, and where each look is a request."""
    return far_s if is_remote(at) else near_s


def make(folder: Place) -> None:
    """Make a folder and those above it, if they are not there; objects need none."""
    if isinstance(folder, Path):
        folder.mkdir(parents=True, exist_ok=True)


def make_in(root: Place, folder: Place) -> None:
    """Make a folder somewhere in another one. Raises `FileNotFoundError` where that one is not there any more."""
    if not isinstance(root, Path) or not isinstance(folder, Path):
        return
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not there any more")
    if folder.is_dir():
        return
    at = root
    for part in folder.relative_to(root).parts:
        at /= part
        # Never with what is above it: somebody may be deleting that just now.
        at.mkdir(exist_ok=True)


def read(file: Place, start: int = 0) -> bytes:
    """Return a file's bytes, from the first or from a later one on. Raises `FileNotFoundError` for none."""
    if isinstance(file, ObjectPath):
        return object_store.get(file.uri).data[start:]
    if not start:
        return file.read_bytes()
    with open(file, "rb") as handle:
        handle.seek(start)
        return handle.read()


def write(file: Place, data: bytes) -> None:
    """Write a file so that it is there whole or not at all, also after a loss of power. Its folder must be there."""
    if isinstance(file, ObjectPath):
        object_store.put(file.uri, data)
        return
    temporary = file.with_name(f".{file.name}.{os.getpid()}{_TEMPORARY}")
    try:
        _written(temporary, data, "wb")
        os.replace(temporary, file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def create(file: Place, data: bytes) -> bool:
    """Write a file, whole, if there is none; say whether nobody was first. Makes its folder.

    What two writers write must differ: on an object store it tells whose file it is when an answer was lost.
    """
    if isinstance(file, ObjectPath):
        return object_store.put_new(file.uri, data) is not None
    make(file.parent)
    temporary = file.with_name(f".{file.stem}.{os.getpid()}.{secrets.token_hex(4)}{_TEMPORARY}")
    try:
        _written(temporary, data, "xb")
        try:
            os.link(temporary, file)
        except FileExistsError:
            return False
    finally:
        temporary.unlink(missing_ok=True)
    _settle_on_disk(file.parent)
    return True


def _written(file: Path, data: bytes, mode: str) -> None:
    try:
        with open(file, mode) as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
    except OSError as error:
        # A full disk does not say which file it was that did not fit.
        error.filename = error.filename or str(file)
        raise


def _settle_on_disk(folder: Path) -> None:
    """See to it that a name just made survives a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def refresh(file: Place) -> bool:
    """Make a file young again, if it is there and that can be done without writing it."""
    if isinstance(file, ObjectPath):
        return False
    try:
        os.utime(file)
    except FileNotFoundError:
        return False
    return True


def delete_older(folder: Place, names: Iterable[str], hours: int, dry_run: bool = False) -> list[str]:
    """Delete those of the files below a folder that were written so many hours ago or earlier; return them, in order.

    Each is looked at just before it goes: somebody may be writing it again. A dry run writes nothing at all.
    """
    names = sorted(names)
    if not names:
        return []
    oldest = (time.time() if dry_run else now_s(folder)) - hours * _HOUR_S

    def is_deleted(name: str) -> bool:
        there = status(folder / name)
        if there is None or there.mtime_s > oldest:
            return False
        if not dry_run:
            delete(folder / name)
        return True

    with ThreadPoolExecutor(_REQUESTS if is_remote(folder) else 1) as threads:
        return [name for name, gone in zip(names, threads.map(is_deleted, names), strict=True) if gone]


def touch(file: Place) -> None:
    """See to it that a file is there and was written just now."""
    if isinstance(file, ObjectPath):
        object_store.put(file.uri, b"")
    else:
        file.touch()


def lay_by(file: Place, n_bytes: int) -> None:
    """Take up so much of a disk, if it has that, for `let_go_of` to give back; an object store is never full."""
    if isinstance(file, Path):
        with suppress(OSError):
            # Zeros would take up nothing where files are compressed.
            file.write_bytes(os.urandom(n_bytes))


def let_go_of(file: Place) -> None:
    """Give back what was laid by."""
    if isinstance(file, Path):
        with suppress(OSError):
            file.unlink(missing_ok=True)


def status(file: Place) -> Status | None:
    """Return what is known of a file without reading it, None if there is none."""
    try:
        if isinstance(file, ObjectPath):
            found = object_store.head(file.uri)
            return Status(found.size_bytes, found.mtime_ns // 10**9)
        told = file.stat()
        return Status(told.st_size, told.st_mtime)
    except (FileNotFoundError, NotADirectoryError):
        return None


def exists(file: Place) -> bool:
    """Say whether there is a file."""
    return file.exists() if isinstance(file, Path) else status(file) is not None


def delete(file: Place) -> None:
    """Delete a file, if it is there."""
    if isinstance(file, ObjectPath):
        object_store.delete([file.uri])
    else:
        file.unlink(missing_ok=True)


def delete_below(folder: Place) -> None:
    """Delete a folder with all that is in it, if it is there."""
    if isinstance(folder, ObjectPath):
        if found := [entry.uri for entry in object_store.listing(folder.uri)]:
            object_store.delete(found)
    elif folder.is_dir():
        shutil.rmtree(folder)


def files(folder: Place) -> dict[str, Status]:
    """Return the files right in a folder by their names; none if there is no such folder."""
    if isinstance(folder, ObjectPath):
        found = object_store.children(folder.uri)[0]
        return {e.uri.rpartition("/")[2]: Status(e.size_bytes, e.mtime_ns // 10**9) for e in found}
    listed = {}
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            # One that goes while it is looked at was as good as gone before.
            with suppress(FileNotFoundError):
                if entry.is_file():
                    told = entry.stat()
                    listed[entry.name] = Status(told.st_size, told.st_mtime)
    return listed


def names(folder: Place) -> list[str]:
    """Return the names of files and folders right in a folder, in order; none if there is no such folder."""
    if isinstance(folder, ObjectPath):
        entries, below = object_store.children(folder.uri)
        return sorted({*(entry.uri.rpartition("/")[2] for entry in entries), *below})
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []


def folders(folder: Place) -> list[str]:
    """Return the names of the folders in a folder, in order, without those that begin with a dot."""
    if isinstance(folder, ObjectPath):
        found = object_store.children(folder.uri)[1]
    else:
        try:
            with os.scandir(folder) as entries:
                found = [entry.name for entry in entries if entry.is_dir()]
        except FileNotFoundError:
            found = []
    return sorted(name for name in found if not name.startswith("."))


def changed_ns(folder: Place) -> int | None:
    """Return when something was last made or removed in a folder; None where that is not known.

    Raises `FileNotFoundError` where it is known that there is no such folder.
    """
    return None if isinstance(folder, ObjectPath) else folder.stat().st_mtime_ns


def below(folder: Place) -> Iterator[str]:
    """Yield the paths of all files below a folder, relative to it; none if there is no such folder."""
    if isinstance(folder, ObjectPath):
        for entry in object_store.listing(folder.uri):
            yield entry.uri.removeprefix(f"{folder.uri}/")
    else:
        for found in folder.rglob("*"):
            if found.is_symlink() or not found.is_dir():
                yield found.relative_to(folder).as_posix()


def holding(folder: Place, *wanted: str) -> list[str]:
    """Return the names of the folders in a folder that hold one of the `wanted` files, in order."""
    if isinstance(folder, Path):
        return [name for name in folders(folder) if any((folder / name / file).exists() for file in wanted)]
    found = {path.split("/", 1)[0] for path in below(folder) if path.partition("/")[2] in wanted}
    return sorted(found)


def now_s(folder: Place) -> float:
    """Return the time by the clock of a place, which may be that of yet another machine; its files have their times."""
    probe = folder / f".now-{os.getpid()}-{secrets.token_hex(4)}"
    touch(probe)
    try:
        found = status(probe)
        return found.mtime_s if found else time.time()
    finally:
        delete(probe)
