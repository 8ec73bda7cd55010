"""Paths on a local or mounted file system.

obstore's LocalStore is not used here: it neither flushes files and folders to disk, nor keeps modification times under
our control, nor says which file did not fit on a full disk.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PosixPath

from jobs.storage.path_interface import TEMPORARY, Place, Status
from jobs.storage.spare_files import spare_name


class LocalPath(PosixPath):
    """A `pathlib` path with the methods of `Place`; relative to the working directory unless it is absolute."""

    __slots__ = ()

    @property
    def is_remote(self) -> bool:
        """Whether each operation is a request to another machine: no."""
        return False

    @property
    def is_bucket(self) -> bool:
        """Whether this is a whole bucket: no."""
        return False

    def on_disk(self) -> Path | None:
        """Return the path itself."""
        return self

    def read(self, start: int = 0) -> bytes:
        """Return the bytes of a file from offset `start` on. Raises `FileNotFoundError`."""
        if not start:
            return self.read_bytes()
        with open(self, "rb") as handle:
            handle.seek(start)
            return handle.read()

    def write(self, data: bytes) -> None:
        """Write a file atomically and durably, by renaming a temporary file. Its folder must exist."""
        temporary = self.with_name(spare_name(self.name, TEMPORARY))
        try:
            write_flushed(temporary, data, "wb")
            os.replace(temporary, self)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def create(self, data: bytes) -> bool:
        """Write a file atomically if there is none, by linking a temporary file; return whether this call created it.

        Makes its folder.
        """
        self.parent.make_folder()
        temporary = self.with_name(spare_name(self.stem, TEMPORARY, secrets.token_hex(4)))
        try:
            write_flushed(temporary, data, "xb")
            try:
                os.link(temporary, self)
            except FileExistsError:
                return False
        finally:
            temporary.unlink(missing_ok=True)
        _flush_folder(self.parent)
        return True

    def renew_mtime(self) -> bool:
        """Set the modification time of a file to now; return False if there is no file."""
        try:
            os.utime(self)
        except FileNotFoundError:
            return False
        return True

    def reserve_space(self, n_bytes: int) -> None:
        """Occupy disk space with a file of this name, if there is that much."""
        with suppress(OSError):
            # Zeros would occupy nothing where files are compressed.
            self.write_bytes(os.urandom(n_bytes))

    def free_space(self) -> None:
        """Free what `reserve_space` occupied."""
        with suppress(OSError):
            self.unlink(missing_ok=True)

    def status(self) -> Status | None:
        """Return size and modification time of a file without reading it; None if there is none."""
        try:
            found = self.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return Status(found.st_size, found.st_mtime)

    def delete(self) -> None:
        """Delete a file, if it is there."""
        self.unlink(missing_ok=True)

    def delete_tree(self) -> None:
        """Delete a folder with everything in it, if it is there."""
        if self.is_dir():
            shutil.rmtree(self)

    def make_folder(self) -> None:
        """Make a folder and those above it, if they are not there."""
        self.mkdir(parents=True, exist_ok=True)

    def make_folder_within(self, root: Place) -> None:
        """Make a folder below `root`. Raises `FileNotFoundError` if `root` does not exist any more."""
        at = LocalPath(root)
        if not at.is_dir():
            raise FileNotFoundError(f"{root} is not there any more")
        if self.is_dir():
            return
        for part in self.relative_to(root).parts:
            at /= part
            # Never with `parents=True`: another process may be deleting the folder above just now.
            at.mkdir(exist_ok=True)

    def is_not_a_folder(self) -> bool:
        """Return whether something other than a folder is here."""
        return self.exists() and not self.is_dir()

    def has_entries(self) -> bool:
        """Return whether a folder contains anything whose name does not begin with a dot."""
        return any(not name.startswith(".") for name in self.names())

    def files(self) -> dict[str, Status]:
        """Return the files directly in a folder by their names; none if there is no such folder."""
        listed = {}
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(self) as entries:
            for entry in entries:
                # A file that is deleted meanwhile counts as deleted before.
                with suppress(FileNotFoundError):
                    if entry.is_file():
                        found = entry.stat()
                        listed[entry.name] = Status(found.st_size, found.st_mtime)
        return listed

    def names(self) -> list[str]:
        """Return the sorted names of files and folders directly in a folder; none if there is no such folder."""
        try:
            return sorted(os.listdir(self))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def folders(self) -> list[str]:
        """Return the sorted names of the folders directly in a folder, without those that begin with a dot."""
        try:
            with os.scandir(self) as entries:
                return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
        except FileNotFoundError:
            return []

    def folders_with(self, *wanted: str) -> list[str]:
        """Return the sorted names of the folders in a folder that contain one of the `wanted` files."""
        return [name for name in self.folders() if any((self / name / file).exists() for file in wanted)]

    def files_below(self) -> Iterator[str]:
        """Yield the paths of all files below a folder, relative to it; none if there is no such folder."""
        for found in self.rglob("*"):
            if found.is_symlink() or not found.is_dir():
                yield found.relative_to(self).as_posix()

    def sizes_below(self) -> Iterator[tuple[str, int]]:
        """Yield the paths of all files below a folder, relative to it, and their sizes in bytes."""
        for path in self.files_below():
            if (found := (self / path).status()) is not None:
                yield path, found.size_bytes

    def changed_ns(self) -> int | None:
        """Return when an entry of a folder was last added or removed (ns since 1970).

        Raises `FileNotFoundError` if there is no such folder.
        """
        return self.stat().st_mtime_ns


def write_flushed(file: Path, data: bytes, mode: str) -> None:
    """Write a file and flush it to disk. Raises `OSError`, which names the file also where the disk is full."""
    try:
        with open(file, mode) as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
    except OSError as error:
        # For a full disk the system does not name the file.
        error.filename = error.filename or str(file)
        raise


def _flush_folder(folder: Path) -> None:
    """Flush a folder to disk, so that a new name in it survives a power failure."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
