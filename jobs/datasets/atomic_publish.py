"""Atomic publication of a finished dataset at its destination."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from jobs.storage import paths
from jobs.storage.paths import ObjectPath, Place
from transforms.io import object_store

BROKEN_OFF = ".being-written"
"""Marker object in a bucket while a dataset is uploaded; it remains if the upload is interrupted."""

_WRITERS = 8


@contextmanager
def staged(out: Place) -> Iterator[Path]:
    """Create a temporary folder in which a dataset is built for a destination; it is removed afterwards."""
    if isinstance(out, ObjectPath):
        with TemporaryDirectory(prefix="winnow-export-") as folder:
            yield Path(folder)
        return
    out = out.absolute()
    temporary = out.with_name(f".{out.name}.{os.getpid()}.partial")
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
    """Replace an earlier export by a folder; the presence of its file `last` means that it is complete."""
    if isinstance(out, ObjectPath):
        _upload(folder, out, last)
    else:
        _move(folder, out.absolute(), last)


def _upload(folder: Path, out: ObjectPath, last: str) -> None:
    """Upload the files below a prefix; `last` is deleted first, and written when all others have been replaced."""
    before = set(paths.below(out))
    paths.touch(out / BROKEN_OFF)
    paths.delete(out / last)
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    with ThreadPoolExecutor(_WRITERS) as writers:
        list(writers.map(lambda name: paths.write(out / name, (folder / name).read_bytes()), set(names) - {last}))
    if gone := sorted(before - set(names)):
        object_store.delete([str(out / name) for name in gone])
    paths.write(out / last, (folder / last).read_bytes())
    paths.delete(out / BROKEN_OFF)


def _move(folder: Path, out: Path, last: str) -> None:
    if out.exists() and not any(out.iterdir()):
        # An empty folder is kept, since it may be the user's working directory.
        for entry in sorted(folder.iterdir(), key=lambda e: e.name == last):
            os.replace(entry, out / entry.name)
    elif out.exists():
        aside = out.with_name(f".{out.name}.{os.getpid()}.old")
        os.replace(out, aside)
        os.replace(folder, out)
        shutil.rmtree(aside)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        os.replace(folder, out)
