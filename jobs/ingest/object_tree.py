"""Inputs in a bucket: the objects below a prefix, listed once, as folders of frames and clips."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from jobs.ingest.folders import NO_FILES, DiskTree, Files, Tree, is_chosen_file, is_stream_file
from jobs.ingest.name_reading import holds_frames
from jobs.storage.paths import Place, place
from transforms.io import object_store


@dataclass
class _Folder:
    names: list[str] = field(default_factory=list)
    sizes: array[int] = field(default_factory=lambda: array("q"))
    mtimes: array[int] = field(default_factory=lambda: array("q"))

    def files(self) -> Files:
        """Return the objects; their mtimes are those of `object_store.stamp_ns`."""
        names = pa.array(self.names, pa.string())
        return Files(names, np.array(self.sizes, np.int64), np.array(self.mtimes, np.int64), [])


class PrefixTree:
    """An input in a bucket at the time of listing. Raises `OSError` if it cannot be listed."""

    def __init__(self, root: Place, name: str | None = None) -> None:
        self._root = root
        self._name = name
        self._folders: dict[str, _Folder] = {}
        self._is_clip = is_stream_file(root) and root.exists()
        for entry in () if self._is_clip else object_store.listing(str(root)):
            folder, _, name = entry.uri.rpartition("/")
            held = self._folders.setdefault(folder, _Folder())
            held.names.append(name)
            held.sizes.append(entry.size_bytes)
            held.mtimes.append(entry.mtime_ns)

    def is_folder(self, at: Place) -> bool:
        """Return whether a place is a folder, and not a clip."""
        if at == self._root:
            return not self._is_clip
        folder = self._folders.get(str(at.parent))
        return not (is_stream_file(at) and folder is not None and at.name in folder.names)

    def names(self) -> list[str]:
        """Return the names directly in the input, in order."""
        return sorted({uri.removeprefix(f"{self._root}/").split("/", 1)[0] for uri in self._uris()})

    def _uris(self) -> Iterator[str]:
        for folder, held in self._folders.items():
            yield from (f"{folder}/{name}" for name in held.names)

    def below(self, glob: str, problems: list[str]) -> Iterator[Place]:  # noqa: ARG002 - nothing can be unreadable
        """Yield folders with frames, and clips, below the input in order of path; hidden names are ignored."""
        for folder in sorted(self._folders):
            if any(part.startswith(".") for part in folder.removeprefix(str(self._root)).split("/")):
                continue
            at = place(folder)
            if at != self._root and self.holds_frames(at, glob):
                yield at
            for name in sorted(self._folders[folder].names):
                if is_chosen_file(name, glob):
                    yield at / name

    def holds_frames(self, folder: Place, glob: str) -> bool:
        """Return whether objects directly below a prefix look like frames."""
        return holds_frames(self.scan(folder).names, glob, self._name)

    def scan(self, folder: Place) -> Files:
        """Return the objects directly below a prefix; none if there are none."""
        held = self._folders.get(str(folder))
        return NO_FILES if held is None else held.files()


def tree_of(given: str, at: Place, problems: list[str], name: str | None = None) -> Tree | None:
    """Return what is at and below an input, or None after a word to `problems`.

    `name` is the pattern of frames' names, if it is known.
    """
    path = at.on_disk()
    if path is not None:
        return DiskTree(path, name)
    try:
        tree = PrefixTree(at, name)
    except OSError as error:
        problems.append(f"input {given} cannot be read: {error}")
        return None
    return tree
