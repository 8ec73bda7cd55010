"""Folders of frames and clips on a local or mounted file system: which there are, and what lies in them."""

from __future__ import annotations

import fnmatch
import os
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms import clip, ingest
from transforms.ingest import FrameNumberError

_SCAN_CHUNK = 1 << 14


class Files(NamedTuple):
    """The files of a folder, in no order: names, sizes in bytes and mtimes in ns, all of shape (N,).

    `unreadable` are names that are no UTF-8, with what is wrong in them replaced; they are not among `names`.
    """

    names: pa.Array
    sizes: npt.NDArray[np.int64]
    mtimes: npt.NDArray[np.int64]
    unreadable: list[str]


NO_FILES = Files(pa.array([], pa.string()), np.empty(0, np.int64), np.empty(0, np.int64), [])


def is_clip(path: Path) -> bool:
    """Say whether a file is a clip, by its name."""
    return path.suffix.lower().removeprefix(".") in clip.EXTENSIONS


def existing(given: str, problems: list[str]) -> Path | None:
    """Return the folder or the clip that an input names, or None after a word to `problems`."""
    if "://" in given and not given.startswith("file://"):
        problems.append(f"input {given}: expected a folder on a local or mounted file system")
        return None
    if not given.strip():
        problems.append("an input is empty; expected a folder of frames (is a variable not set?)")
        return None
    path = Path(given.removeprefix("file://")).expanduser()
    try:
        if not path.exists():
            problems.append(f"input {given} does not exist; expected a folder of frames such as image_0.jpg")
        elif not path.is_dir() and not is_clip(path):
            kinds = ", ".join(clip.EXTENSIONS)
            problems.append(
                f"input {given} is a file; expected a folder of frames such as image_0.jpg, or a clip ({kinds})"
            )
        elif not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
            problems.append(f"input {given} cannot be read: permission denied")
        else:
            return path.resolve()
    except OSError as error:
        problems.append(f"input {given} cannot be read: {error.strerror}")
    return None


def below(root: Path, glob: str, problems: list[str]) -> Iterator[Path]:
    """Yield every folder below the root that holds frames, and every clip at any depth, in order of path.

    Links are followed, each place once.
    """
    visited = set()

    def unreadable(error: OSError) -> None:
        problems.append(f"{error.filename} cannot be read: {error.strerror}")

    for folder, names, files in os.walk(root, onerror=unreadable, followlinks=True):
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in visited:
            names.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        names[:] = sorted(name for name in names if not name.startswith("."))
        found = [Path(folder, name) for name in sorted(files) if _is_chosen_clip(name, glob)]
        if folder != str(root) and holds_frames(Path(folder), glob):
            found.insert(0, Path(folder))
        for path in found:
            if _is_text(str(path)):
                yield path
            else:
                problems.append(f"{_as_text(str(path))}: the name is not UTF-8; rename it")


def _is_chosen_clip(name: str, glob: str) -> bool:
    return is_clip(Path(name)) and not name.startswith(".") and fnmatch.fnmatchcase(name, glob)


def holds_frames(folder: Path, glob: str) -> bool:
    """Say whether files in a folder look like frames."""
    try:
        names = scan(folder, with_status=False).names
    except OSError:
        return False
    try:
        found = ingest.order_files(names, glob)
    except FrameNumberError:
        return True
    return bool(len(found.chosen) or found.repeated)


def scan(folder: Path, with_status: bool = True) -> Files:
    """Return the files in a folder; without `with_status`, sizes and mtimes are 0 and cost nothing."""
    chunks: list[pa.Array] = []
    names: list[str] = []
    unreadable: list[str] = []
    sizes, mtimes = array("q"), array("q")
    with os.scandir(folder) as entries:
        for entry in entries:
            if _is_folder(entry):
                continue
            if not _is_text(entry.name):
                unreadable.append(_as_text(entry.name))
                continue
            size, mtime = _status(entry) if with_status else (0, 0)
            sizes.append(size)
            mtimes.append(mtime)
            names.append(entry.name)
            if len(names) == _SCAN_CHUNK:
                chunks.append(pa.array(names, pa.string()))
                names = []
    chunks.append(pa.array(names, pa.string()))
    return Files(pa.concat_arrays(chunks), np.frombuffer(sizes, np.int64), np.frombuffer(mtimes, np.int64), unreadable)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # A link that leads to itself.
        return False


def _status(entry: os.DirEntry[str]) -> tuple[int, int]:
    try:
        status = entry.stat()
    except OSError:
        # A dangling link has a frame's name: reading it will say what is wrong.
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _is_text(name: str) -> bool:
    return name.isascii() or not any("\udc80" <= c <= "\udcff" for c in name)


def _as_text(name: str) -> str:
    return os.fsencode(name).decode(errors="replace")
