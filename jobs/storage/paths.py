"""Paths on disks and in object stores, made of strings; deletion of files by age.

`place` makes a path of a string; its methods are described in `path_interface`. Imports little.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from jobs.core.errors import UserError
from jobs.storage.local_paths import LocalPath
from jobs.storage.object_paths import ObjectPath
from jobs.storage.path_interface import Place, Status
from transforms.io import object_store

__all__ = ["LocalPath", "ObjectPath", "Place", "Status", "absolute", "delete_older", "folder_on_disk", "now_s", "place"]

_HOUR_S = 3600
_NO_KEY = re.compile(r"[\x00-\x1f\x7f]|(?<=[^:/])//|(?<=/)\.\.?(?=/|$)")
_REQUESTS = 16


def place(named: str | os.PathLike[str] | Place) -> Place:
    """Return a path, or a URI that begins with `file://` or `s3://`, as an object with the methods of `Place`.

    Raises `UserError` for a URI that clients of buckets have no key for.
    """
    if isinstance(named, ObjectPath):
        # It has no string for the operating system.
        return named
    text = os.fspath(named)
    if object_store.is_object(text):
        if wrong := _NO_KEY.search(text.rstrip("/")):
            raise UserError(
                f"{text!r}: expected a key without {wrong[0]!r}; clients of buckets take none with control characters, "
                "empty parts, or the parts . and .."
            )
        return ObjectPath(text.rstrip("/"))
    return LocalPath(text.removeprefix("file://"))


def absolute(named: str | os.PathLike[str] | Place) -> Place:
    """Return a path or a URI as what means the same in every working directory."""
    return place(named).expanduser().absolute()


def folder_on_disk(named: str, option: str) -> Path:
    """Return a path on disk. Raises `UserError`, which names the option, for one in a bucket."""
    found = place(named).on_disk()
    if found is None:
        raise UserError(f"{option} {named}: expected a folder on disk")
    return found


def poll_interval_s(at: Place, local_s: float, remote_s: float) -> float:
    """Return how many seconds to wait between two reads of a path: on disk, and where each read is a request."""
    return remote_s if at.is_remote else local_s


def delete_older(folder: Place, names: Iterable[str], hours: int, dry_run: bool = False) -> list[str]:
    """Delete those of the files below a folder that were written `hours` ago or earlier; return them, sorted.

    The age of each is checked just before it is deleted: another process may have written it again. A dry run writes
    nothing at all.
    """
    names = sorted(names)
    if not names:
        return []
    oldest = (time.time() if dry_run else now_s(folder)) - hours * _HOUR_S

    def is_deleted(name: str) -> bool:
        found = (folder / name).status()
        if found is None or found.mtime_s > oldest:
            return False
        if not dry_run:
            (folder / name).delete()
        return True

    with ThreadPoolExecutor(_REQUESTS if folder.is_remote else 1) as threads:
        return [name for name, gone in zip(names, threads.map(is_deleted, names), strict=True) if gone]


def now_s(folder: Place) -> float:
    """Return the time (seconds since 1970) by the clock of a folder's file system or store, which dates its files.

    Writes a file, and deletes it.
    """
    probe = folder / f".now-{os.getpid()}-{secrets.token_hex(4)}"
    probe.touch()
    try:
        found = probe.status()
        return found.mtime_s if found else time.time()
    finally:
        probe.delete()
