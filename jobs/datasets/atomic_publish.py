"""Atomic publication of a finished dataset at its destination."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from jobs.storage.paths import Place
from transforms.io import object_store

BROKEN_OFF = ".being-written"
"""Marker object in a bucket while a dataset is uploaded; it remains if the upload is interrupted."""

_WRITERS = 8


@contextmanager
def staged(out: Place) -> Iterator[Path]:
    """Make a folder in which a dataset can be built that is to go to a place; it is deleted afterwards."""
    path = out.on_disk()
    if path is None:
        with TemporaryDirectory(prefix="winnow-export-") as folder:
            yield Path(folder)
        return
    path = path.absolute()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
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
        previous = out.with_name(f".{out.name}.{os.getpid()}.old")
        os.replace(out, previous)
        os.replace(folder, out)
        shutil.rmtree(previous)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        os.replace(folder, out)
