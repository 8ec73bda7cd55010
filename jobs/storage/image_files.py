"""Images that runs write next to the tables: frames of clips as files, for other programs and exports with links.

A file's name ends in the hash of its bytes, and rows of `media` name it, so that none is ever overwritten by another.
"""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from blake3 import blake3

from jobs.storage.paths import Place

FOLDER = "pictures"
_DIGITS = 20


@dataclass(frozen=True)
class ImageFolder:
    """Where the images of a workspace go; `root` is the workspace."""

    root: Place

    def __call__(self, stream_id: str, frame_idx: int, jpeg: bytes) -> str:
        """Write an image, unless it is there, and return its path below the workspace. Raises `OSError`."""
        stream = re.sub(r"[^A-Za-z0-9_.-]+", "_", stream_id).strip(".")[:80] or "stream"
        name = f"{FOLDER}/{stream}/{frame_idx:08d}-{blake3(jpeg).hexdigest()[:_DIGITS]}.jpg"
        target = self.root / name
        # A file that an earlier run left is dated now, so that no vacuum deletes it before it is committed.
        if not target.renew_mtime():
            target.parent.make_folder_within(self.root)
            target.write(jpeg)
        return name


def unreferenced(root: Place, named: AbstractSet[str]) -> list[str]:
    """Return the images of a workspace that no row names."""
    folder = root / FOLDER
    there = [f"{FOLDER}/{stream}/{name}" for stream in folder.folders() for name in (folder / stream).files()]
    return [name for name in there if name not in named]
