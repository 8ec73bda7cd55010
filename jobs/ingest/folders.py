"""Folders of frames and clips, on disk or as prefixes of a bucket, and the files in them."""

from __future__ import annotations

import fnmatch
import os
from array import array
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path, PurePath
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jobs.core.errors import UserError
from jobs.ingest.name_reading import holds_frames
from jobs.storage.paths import Place, place
from transforms.frames import clip
from transforms.io import object_store
from transforms.io.recordings import recorded_frame

_SCAN_CHUNK = 1 << 14


class Files(NamedTuple):
    """The files of a folder, unordered: names, sizes in bytes and mtimes in ns, all of shape (N,).

    `unreadable` are names that are not UTF-8, with invalid bytes replaced; they are not among `names`.
    """

    names: pa.Array
    sizes: npt.NDArray[np.int64]
    mtimes: npt.NDArray[np.int64]
    unreadable: list[str]


NO_FILES = Files(pa.array([], pa.string()), np.empty(0, np.int64), np.empty(0, np.int64), [])


def is_clip(path: Place | PurePath) -> bool:
    """Return whether a file is a clip, by its name."""
    return path.suffix.lower().removeprefix(".") in clip.EXTENSIONS


def is_recording(path: Place | PurePath) -> bool:
    """Return whether a file is a recording of a robot or a vehicle, by its name."""
    return path.suffix.lower().removeprefix(".") in recorded_frame.EXTENSIONS


def is_stream_file(path: Place | PurePath) -> bool:
    """Return whether a file holds streams of frames by itself: whether it is a clip or a recording, by its name."""
    return is_clip(path) or is_recording(path)


class Tree(Protocol):
    """An input and the folders and files below it."""

    def is_folder(self, at: Place) -> bool:
        """Return whether a place is a folder, and not a clip."""

    def names(self) -> list[str]:
        """Return the names directly in the input, in order."""

    def below(self, glob: str, problems: list[str]) -> Iterator[Place]:
        """Yield every folder below the input that contains frames, and every clip at any depth, in order of path."""

    def holds_frames(self, folder: Place, glob: str) -> bool:
        """Return whether a folder contains files that look like frames."""

    def scan(self, folder: Place) -> Files:
        """Return the files in a folder; none if it does not exist."""


class DiskTree:
    """An input on a local or mounted file system."""

    def __init__(self, root: Path, name: str | None = None) -> None:
        self._root = root
        self._name = name

    def is_folder(self, at: Place) -> bool:
        """Say whether a place is a folder, and not a clip."""
        path = at.on_disk()
        return path is not None and path.is_dir()

    def names(self) -> list[str]:
        """Return the names directly in the input, in order."""
        return sorted(entry.name for entry in self._root.iterdir())

    def below(self, glob: str, problems: list[str]) -> Iterator[Place]:
        """Yield folders with frames, and clips, below the input; links are followed, each place once."""
        return below(self._root, glob, problems, self._name)

    def holds_frames(self, folder: Place, glob: str) -> bool:
        """Say whether files in a folder look like frames."""
        path = folder.on_disk()
        assert path is not None
        try:
            names = scan(path, with_status=False).names
        except OSError:
            return False
        return holds_frames(names, glob, self._name)

    def scan(self, folder: Place) -> Files:
        """Return the files in a folder; none for one that is not there."""
        path = folder.on_disk()
        return scan(path) if path is not None and path.is_dir() else NO_FILES


def existing(given: str, problems: list[str]) -> Place | None:
    """Return the folder or the clip that an input names, or None after adding to `problems`."""
    try:
        named = place(given)
    except UserError as error:
        problems += [f"input {problem}" for problem in error.problems]
        return None
    return _existing(given, named, problems)


def _existing(given: str, named: Place, problems: list[str]) -> Place | None:
    if "://" in given and not given.startswith(("file://", object_store.SCHEME)):
        problems.append(f"input {given}: expected a folder, or s3://BUCKET/PREFIX")
        return None
    if not given.strip():
        problems.append("an input is empty; expected a folder of frames (is a variable not set?)")
        return None
    path = named.on_disk()
    if path is None:
        if not object_store.split(str(named))[0]:
            problems.append(f"input {given}: expected s3://BUCKET/PREFIX")
            return None
        return named
    path = path.expanduser()
    try:
        if not path.exists():
            problems.append(f"input {given} does not exist; expected a folder of frames such as image_0.jpg")
        elif not path.is_dir() and not is_stream_file(path):
            kinds = ", ".join((*clip.EXTENSIONS, *recorded_frame.EXTENSIONS))
            problems.append(
                f"input {given} is a file; expected a folder of frames (image_0.jpg), a clip or a recording ({kinds})"
            )
        elif not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
            problems.append(f"input {given} cannot be read: permission denied")
        else:
            return place(unlinked(path))
    except OSError as error:
        problems.append(f"input {given} cannot be read: {error.strerror}")
    return None


def vanished(given: str, known: Iterable[Place]) -> Place | None:
    """Return the place on disk that an input names, if it is not there and known streams were there or below it."""
    if not given.strip() or "://" in given.removeprefix("file://"):
        return None
    path = place(given).on_disk()
    if path is None:
        return None
    with suppress(OSError, RuntimeError):
        path = path.expanduser()
        if path.is_symlink() or path.exists():
            return None
        for named in (place(unlinked(path)), place(path.resolve())):
            if any(named in (at, *at.parents) for at in known):
                return named
    return None


def unlinked(path: Path) -> Path:
    """Return the absolute path as it is named, links and all, without `.` and `..`.

    A link stays, so that a folder has one path whether it is named itself or found below another one. Where `..` leaves
    the target of a link, the path is that of the target.
    """
    plain = Path(os.path.normpath(path.absolute()))
    return plain if ".." not in path.parts or plain.resolve() == path.resolve() else path.resolve()


def real(at: Place | str) -> str:
    """Return what a path leads to, with all links followed; a URI itself."""
    path = place(at).on_disk()
    return str(at) if path is None else os.path.realpath(path)


def same_place(one: Place | str, other: Place | str) -> bool:
    """Return whether two paths or URIs lead to the same folder or file."""
    return str(one) == str(other) or real(one) == real(other)


def below(root: Path, glob: str, problems: list[str], name: str | None = None) -> Iterator[Place]:
    """Yield every folder below the root that contains frames, and every clip at any depth, in order of path.

    `name` is the pattern of frames' names, if it is known. Links are followed, each place once.
    """
    visited = set()

    def unreadable(error: OSError) -> None:
        problems.append(
            f"{error.filename} cannot be read: {error.strerror}; make it readable, or name the other folders with one "
            "--input each"
        )

    for folder, folders, files in os.walk(root, onerror=unreadable, followlinks=True):
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in visited:
            folders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        folders[:] = sorted(below for below in folders if not below.startswith("."))
        found = [Path(folder, file) for file in sorted(files) if is_chosen_file(file, glob)]
        if folder != str(root) and DiskTree(root, name).holds_frames(place(folder), glob):
            found.insert(0, Path(folder))
        for path in found:
            if _is_text(str(path)):
                yield place(path)
            else:
                problems.append(f"{_as_text(str(path))}: the name is not UTF-8; rename it")


def is_chosen_file(name: str, glob: str) -> bool:
    """Return whether a file of this name is a clip or a recording that matches `glob`."""
    return is_stream_file(Path(name)) and not name.startswith(".") and fnmatch.fnmatchcase(name, glob)


def scan(folder: Path, with_status: bool = True) -> Files:
    """Return the files in a folder; without `with_status`, sizes and mtimes are 0 and are not read."""
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
        # A symbolic link to itself.
        return False


def _status(entry: os.DirEntry[str]) -> tuple[int, int]:
    try:
        status = entry.stat()
    except OSError:
        # A dangling link with a frame's name: reading it will report the error.
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _is_text(name: str) -> bool:
    return name.isascii() or not any("\udc80" <= c <= "\udcff" for c in name)


def _as_text(name: str) -> str:
    return os.fsencode(name).decode(errors="replace")
