"""Atomic publication of a finished dataset at its destination."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from jobs.core.errors import UserError
from jobs.storage import spare_files
from jobs.storage.paths import LocalPath, Place
from transforms.io import object_store

BROKEN_OFF = ".being-written"
"""Marker object in a bucket while a dataset is uploaded; it remains if the upload is interrupted."""

_WRITERS = 8
_PARTIAL, _OLD = "partial", "old"


def destination(out: Place) -> Place:
    """Return where a dataset is written: what a symbolic link leads to, since it is not the link that is replaced.

    What an export that was killed left there is cleared, and the earlier export that it had moved away is back.
    Raises `UserError` for a link that leads to itself.
    """
    path = out.on_disk()
    if path is None:
        return out
    if path.is_symlink():
        led = Path(os.path.realpath(path))
        if led.is_symlink():
            raise UserError(f"{out} is a symbolic link that leads to itself; name a folder, or delete the link")
        out, path = LocalPath(led), led
    path = path.absolute()
    spare_files.clear(path.parent, path.name, _PARTIAL)
    olds = spare_files.dead_files(path.parent, path.name, _OLD)
    if olds and not path.exists():
        # It was killed after the earlier export was moved away, and before the new one took its place.
        os.replace(olds.pop(), path)
    for old in olds:
        spare_files.remove(old)
    return out


@contextmanager
def staged(out: Place) -> Iterator[Path]:
    """Make a folder in which a dataset can be built that is to go to a place; it is deleted afterwards."""
    path = out.on_disk()
    if path is None:
        with spare_files.temporary_folder() as folder:
            yield folder
        return
    path = path.absolute()
    temporary = path.with_name(spare_files.spare_name(path.name, _PARTIAL))
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        yield temporary
    except OSError as error:
        error.filename = error.filename or str(temporary)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def put_in_place(folder: Path, out: Place, last: str) -> None:
    """Let a folder take the place of an earlier export; its file `last` is the sign that all is there."""
    path = out.on_disk()
    if path is None:
        _upload(folder, out, last)
    else:
        _move(folder, path.absolute(), last)


def _upload(folder: Path, out: Place, last: str) -> None:
    """Put the files below a prefix: without the sign as long as they are not all there, and the old ones deleted."""
    before = set(out.files_below())
    (out / BROKEN_OFF).touch()
    (out / last).delete()
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    with ThreadPoolExecutor(_WRITERS) as writers:
        list(writers.map(lambda name: (out / name).write((folder / name).read_bytes()), set(names) - {last}))
    if gone := sorted(before - set(names)):
        object_store.delete([str(out / name) for name in gone])
    (out / last).write((folder / last).read_bytes())
    (out / BROKEN_OFF).delete()


def _move(folder: Path, out: Path, last: str) -> None:
    if out.exists() and not any(out.iterdir()):
        # An empty folder is kept, since it may be the user's working directory.
        for entry in sorted(folder.iterdir(), key=lambda e: e.name == last):
            os.replace(entry, out / entry.name)
    elif out.exists():
        previous = out.with_name(spare_files.spare_name(out.name, _OLD))
        os.replace(out, previous)
        os.replace(folder, out)
        shutil.rmtree(previous)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        os.replace(folder, out)
