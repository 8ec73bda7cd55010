"""Pictures that runs write beside the tables: frames of clips as files, for other programs and exports that link.

A file's name ends in the hash of its bytes, and rows of `media` name it, so that none is ever overwritten by another.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from jobs.workspace import write_atomically

FOLDER = "pictures"
_DIGITS = 20


@dataclass(frozen=True)
class PictureFolder:
    """Where the pictures of a workspace go; `root` is the workspace."""

    root: Path

    def __call__(self, stream_id: str, frame_idx: int, jpeg: bytes) -> str:
        """Write a picture, unless it is there, and return its path below the workspace. Raises `OSError`."""
        stream = re.sub(r"[^A-Za-z0-9_.-]+", "_", stream_id).strip(".")[:80] or "stream"
        name = f"{FOLDER}/{stream}/{frame_idx:08d}-{blake3(jpeg).hexdigest()[:_DIGITS]}.jpg"
        target = self.root / name
        try:
            # What an earlier run left behind is young again, so that no vacuum takes it before it is committed.
            os.utime(target)
        except FileNotFoundError:
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(target, jpeg)
        return name


def unreferenced(root: Path, named: AbstractSet[str], retention_hours: int) -> list[str]:
    """Return the pictures of a workspace that no row names and that are older than so many hours, in order."""
    oldest = time.time() - retention_hours * 3600
    return sorted(name for name, path in _files(root) if name not in named and path.stat().st_mtime <= oldest)


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    for path in (root / FOLDER).glob("*/*.jpg"):
        yield path.relative_to(root).as_posix(), path
