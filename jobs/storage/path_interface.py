"""Interface of a path: what files on disk and objects in a bucket have in common.

`LocalPath` and `ObjectPath` implement it. Other modules call its methods and do not ask which of the two a path is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Protocol

TEMPORARY = "tmp"
"""Suffix, without its dot, of files that are being written; a reader never looks for it."""


class Status(NamedTuple):
    """Size of a file, and when it was last written (seconds since 1970, by the clock of the file system or store)."""

    size_bytes: int
    mtime_s: float


class Place(Protocol):
    """A file, an object, a folder or a prefix. Joined with /; its string is the path or the URI.

    Methods raise `OSError` where the disk or the object store fails.
    """

    def __truediv__(self, key: str | PurePosixPath, /) -> Place:
        """Return the path of something inside this folder."""

    def __fspath__(self) -> str:
        """Return the path for the operating system. Raises `TypeError` for an object."""

    @property
    def name(self) -> str:
        """Last part of the path."""

    @property
    def stem(self) -> str:
        """Name without its suffix."""

    @property
    def suffix(self) -> str:
        """End of the name, from its last dot on."""

    @property
    def parent(self) -> Place:
        """Folder that contains this path."""

    @property
    def parents(self) -> Sequence[Place]:
        """All folders that contain this path, the innermost first."""

    def relative_to(self, other: Place, /) -> PurePosixPath:
        """Return the path below `other`, a folder that contains this path."""

    def absolute(self) -> Place:
        """Return the path that means the same in every working directory."""

    def expanduser(self) -> Place:
        """Return the path with a leading `~` replaced by the home folder."""

    def resolve(self) -> Place:
        """Return the absolute path without symbolic links."""

    @property
    def is_remote(self) -> bool:
        """Whether each operation is a request to another machine, which costs time and money."""

    @property
    def is_bucket(self) -> bool:
        """Whether this is a whole bucket, without a prefix."""

    def on_disk(self) -> Path | None:
        """Return the path for what needs a real file (a process, a lock of the system); None for an object."""

    def read(self, start: int = 0) -> bytes:
        """Return the bytes of a file from offset `start` on. Raises `FileNotFoundError`."""

    def write(self, data: bytes) -> None:
        """Write a file atomically and durably: it is there whole or not at all, also after a power failure.

        Its folder must exist.
        """

    def create(self, data: bytes) -> bool:
        """Write a file atomically if there is none; return whether this call created it. Makes its folder.

        Two writers must write different data: an object store tells by the data whose file it is when a response was
        lost.
        """

    def touch(self) -> None:
        """Create an empty file, or set the modification time of a file to now."""

    def renew_mtime(self) -> bool:
        """Set the modification time of a file to now; return False if there is no file, or only by writing it."""

    def reserve_space(self, n_bytes: int) -> None:
        """Occupy disk space, if there is that much, until `free_space`; does nothing on an object store."""

    def free_space(self) -> None:
        """Free what `reserve_space` occupied."""

    def status(self) -> Status | None:
        """Return size and modification time of a file without reading it; None if there is none."""

    def exists(self) -> bool:
        """Return whether there is a file (on disk: or a folder)."""

    def delete(self) -> None:
        """Delete a file, if it is there."""

    def delete_tree(self) -> None:
        """Delete a folder with everything in it, if it is there."""

    def make_folder(self) -> None:
        """Make a folder and those above it, if they are not there; objects need none."""

    def make_folder_within(self, root: Place) -> None:
        """Make a folder below `root`. Raises `FileNotFoundError` if `root` does not exist any more."""

    def is_not_a_folder(self) -> bool:
        """Return whether something other than a folder is here; never true of objects."""

    def has_entries(self) -> bool:
        """Return whether a folder contains anything whose name does not begin with a dot."""

    def files(self) -> dict[str, Status]:
        """Return the files directly in a folder by their names; none if there is no such folder."""

    def names(self) -> list[str]:
        """Return the sorted names of files and folders directly in a folder; none if there is no such folder."""

    def folders(self) -> list[str]:
        """Return the sorted names of the folders directly in a folder, without those that begin with a dot."""

    def folders_with(self, *wanted: str) -> list[str]:
        """Return the sorted names of the folders in a folder that contain one of the `wanted` files."""

    def files_below(self) -> Iterator[str]:
        """Yield the paths of all files below a folder, relative to it; none if there is no such folder."""

    def sizes_below(self) -> Iterator[tuple[str, int]]:
        """Yield the paths of all files below a folder, relative to it, and their sizes in bytes."""

    def changed_ns(self) -> int | None:
        """Return when an entry of a folder was last added or removed (ns since 1970); None where that is not known.

        Raises `FileNotFoundError` where it is known that there is no such folder.
        """
