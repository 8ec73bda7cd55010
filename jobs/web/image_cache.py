"""JPEG files of reduced frames on disk: found by content and width, the least used ones deleted first."""

from __future__ import annotations

import os
import secrets
import time
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from threading import Lock

_MOST_BYTES = 2 << 30
_FULL = 0.9
_TOUCH_S = 3600.0
_BEGINS, _ENDS = b"\xff\xd8", b"\xff\xd9"


class ImageCache:
    """A folder of images that can be computed again: nothing in it is of value.

    Files are written whole or not at all, so that a process may be killed at any time; what is not a whole JPEG is not
    given. What was used last is known after a restart to the hour.
    """

    def __init__(self, folder: Path, most_bytes: int = _MOST_BYTES) -> None:
        self.folder = folder
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
        self._most_bytes = most_bytes
        self._lock = Lock()
        self._sizes: OrderedDict[str, int] | None = None
        self._n_bytes = 0
        self._touched: dict[str, float] = {}

    def get(self, name: str) -> bytes | None:
        """Return an image; None where it is not there, or is not whole."""
        path = self._path(name)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        if not (data.startswith(_BEGINS) and data.endswith(_ENDS)):
            with suppress(OSError):
                path.unlink()
            return None
        with self._lock:
            if self._sizes is not None and name in self._sizes:
                self._sizes.move_to_end(name)
            is_due = time.monotonic() - self._touched.get(name, -_TOUCH_S) >= _TOUCH_S
            if is_due:
                self._touched[name] = time.monotonic()
        if is_due:
            with suppress(OSError):
                os.utime(path)
        return data

    def put(self, name: str, data: bytes) -> None:
        """Store an image, and delete the least used ones where there are too many. A full disk stores none."""
        path = self._path(name)
        partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
        try:
            # Where the folder was moved away, none is made in its place.
            path.parent.mkdir(exist_ok=True)
            partial.write_bytes(data)
            partial.replace(path)
        except OSError:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            return
        with self._lock:
            sizes = self._listed()
            self._n_bytes += len(data) - sizes.pop(name, 0)
            sizes[name] = len(data)
            self._touched[name] = time.monotonic()
            if self._n_bytes > self._most_bytes:
                self._shrink(sizes)

    @property
    def n_bytes(self) -> int:
        """Return how much is stored."""
        with self._lock:
            self._listed()
            return self._n_bytes

    def _shrink(self, sizes: OrderedDict[str, int]) -> None:
        while self._n_bytes > _FULL * self._most_bytes and len(sizes) > 1:
            name, size = sizes.popitem(last=False)
            self._n_bytes -= size
            self._touched.pop(name, None)
            with suppress(OSError):
                self._path(name).unlink(missing_ok=True)

    def _listed(self) -> OrderedDict[str, int]:
        """Return the sizes of all files, the least used first; what a killed process left half written is deleted."""
        if self._sizes is None:
            found = []
            for folder in self.folder.iterdir() if self.folder.is_dir() else ():
                for entry in os.scandir(folder) if folder.is_dir() else ():
                    if entry.name.endswith(".partial"):
                        with suppress(OSError):
                            Path(entry.path).unlink()
                        continue
                    with suppress(OSError):
                        status = entry.stat(follow_symlinks=False)
                        found.append((status.st_mtime_ns, entry.name.removesuffix(".jpg"), status.st_size))
            self._sizes = OrderedDict((name, size) for _, name, size in sorted(found))
            self._n_bytes = sum(self._sizes.values())
        return self._sizes

    def _path(self, name: str) -> Path:
        """Return the file of a name, which is made of a content hash and a width, never of what somebody typed."""
        return self.folder / name[:2] / f"{name}.jpg"
