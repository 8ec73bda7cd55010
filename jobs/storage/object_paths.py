"""Paths of objects and prefixes in a bucket, `s3://bucket/prefix/name`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from jobs.storage.path_interface import Place, Status
from transforms.io import object_store
from transforms.io.object_store import ObjectInfo


@dataclass(frozen=True, order=True)
class ObjectPath:
    """The URI of an object or of a prefix, without a slash at its end, with the methods of `Place`."""

    uri: str

    def __truediv__(self, key: str | PurePosixPath, /) -> ObjectPath:
        return ObjectPath(f"{self.uri}/{key}")

    def __str__(self) -> str:
        return self.uri

    def __fspath__(self) -> str:
        raise TypeError(f"{self.uri} is not a path on a disk")

    @property
    def pure(self) -> PurePosixPath:
        """Bucket and key as a path, for its parts."""
        return PurePosixPath(self.uri.removeprefix(object_store.SCHEME))

    @property
    def name(self) -> str:
        """Last part of the URI."""
        return self.pure.name

    @property
    def stem(self) -> str:
        """Name without its suffix."""
        return self.pure.stem

    @property
    def suffix(self) -> str:
        """End of the name, from its last dot on."""
        return self.pure.suffix

    @property
    def parent(self) -> ObjectPath:
        """Prefix that contains this URI."""
        return ObjectPath(self.uri.rpartition("/")[0])

    @property
    def parents(self) -> tuple[ObjectPath, ...]:
        """All prefixes that contain this URI, the innermost first."""
        return tuple(ObjectPath(f"{object_store.SCHEME}{p}") for p in self.pure.parents if p.parts)

    def relative_to(self, other: Place, /) -> PurePosixPath:
        """Return the path below `other`, a prefix that contains this URI."""
        return PurePosixPath(self.uri.removeprefix(f"{other}/"))

    def absolute(self) -> ObjectPath:
        """Return the path itself: a URI means the same everywhere."""
        return self

    def expanduser(self) -> ObjectPath:
        """Return the path itself: `~` has no meaning in a URI."""
        return self

    def resolve(self) -> ObjectPath:
        """Return the path itself: buckets have no links."""
        return self

    @property
    def is_remote(self) -> bool:
        """Whether each operation is a request to another machine: yes."""
        return True

    @property
    def is_bucket(self) -> bool:
        """Whether this is a whole bucket, without a prefix."""
        return not object_store.split(self.uri)[1]

    def on_disk(self) -> Path | None:
        """Return None: an object is not a file of the operating system."""
        return None

    def read(self, start: int = 0) -> bytes:
        """Return the bytes of an object from offset `start` on. Raises `FileNotFoundError`."""
        return object_store.get(self.uri).data[start:]

    def write(self, data: bytes) -> None:
        """Write an object, which an object store does atomically and durably."""
        object_store.put(self.uri, data)

    def create(self, data: bytes) -> bool:
        """Write an object on condition that there is none; return whether this call created it.

        Two writers must write different data: it tells whose the object is when a response was lost.
        """
        return object_store.put_new(self.uri, data) is not None

    def touch(self) -> None:
        """Write an empty object."""
        object_store.put(self.uri, b"")

    def renew_mtime(self) -> bool:
        """Return False: only writing an object changes its modification time."""
        return False

    def reserve_space(self, n_bytes: int) -> None:
        """Do nothing: an object store is never full."""

    def free_space(self) -> None:
        """Do nothing."""

    def status(self) -> Status | None:
        """Return size and modification time of an object without reading it; None if there is none."""
        try:
            return _status(object_store.head(self.uri))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def exists(self) -> bool:
        """Return whether there is an object of this very URI."""
        return self.status() is not None

    def delete(self) -> None:
        """Delete an object, if it is there."""
        object_store.delete([self.uri])

    def delete_tree(self) -> None:
        """Delete all objects below a prefix."""
        if found := [entry.uri for entry in object_store.listing(self.uri)]:
            object_store.delete(found)

    def make_folder(self) -> None:
        """Do nothing: objects need no folder."""

    def make_folder_within(self, root: Place) -> None:
        """Do nothing: objects need no folder."""

    def is_not_a_folder(self) -> bool:
        """Return False: an object does not prevent others below its URI."""
        return False

    def has_entries(self) -> bool:
        """Return whether there is anything below a prefix whose name does not begin with a dot."""
        return any(not path.startswith(".") for path in self.files_below())

    def files(self) -> dict[str, Status]:
        """Return the objects directly below a prefix by their names."""
        return {_name(entry): _status(entry) for entry in object_store.children(self.uri)[0]}

    def names(self) -> list[str]:
        """Return the sorted names of objects and prefixes directly below a prefix."""
        entries, below = object_store.children(self.uri)
        return sorted({*map(_name, entries), *below})

    def folders(self) -> list[str]:
        """Return the sorted names of the prefixes directly below a prefix, without those that begin with a dot."""
        return sorted(name for name in object_store.children(self.uri)[1] if not name.startswith("."))

    def folders_with(self, *wanted: str) -> list[str]:
        """Return the sorted names of the prefixes below a prefix that contain one of the `wanted` objects."""
        found = {path.split("/", 1)[0] for path in self.files_below() if path.partition("/")[2] in wanted}
        return sorted(found)

    def files_below(self) -> Iterator[str]:
        """Yield the paths of all objects below a prefix, relative to it."""
        for entry in object_store.listing(self.uri):
            yield entry.uri.removeprefix(f"{self.uri}/")

    def sizes_below(self) -> Iterator[tuple[str, int]]:
        """Yield the paths of all objects below a prefix, relative to it, and their sizes in bytes."""
        for entry in object_store.listing(self.uri):
            yield entry.uri.removeprefix(f"{self.uri}/"), entry.size_bytes

    def changed_ns(self) -> int | None:
        """Return None: an object store does not keep when a prefix changed."""
        return None


def _name(entry: ObjectInfo) -> str:
    return entry.uri.rpartition("/")[2]


def _status(entry: ObjectInfo) -> Status:
    return Status(entry.size_bytes, entry.mtime_ns // 10**9)
