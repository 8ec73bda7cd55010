"""The files of a dataset: below a folder, in a `.zip`, or one file with what is next to it."""

from __future__ import annotations

import io
import os
import unicodedata
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from jobs.core.archives import UNPACKING_ERRORS
from jobs.core.errors import UserError

IMAGES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})

_BOM = b"\xef\xbb\xbf"
_MOST_BYTES = 8 << 30


@dataclass(frozen=True)
class DatasetFiles:
    """Files by their paths below the dataset, with `/` between the parts; `is_file`: one file alone was named.

    `sibling` gives an image next to that file, by its name; None for none.
    """

    place: Path
    names: Sequence[str]
    content: Callable[[str], bytes]
    is_file: bool = False
    sibling: Callable[[str], bytes | None] = field(default=lambda name: None)

    @classmethod
    def at(cls, place: Path) -> DatasetFiles:
        """Return the files of a folder, a `.zip` or a file. Raises `UserError` where there are none."""
        if place.is_dir():
            paths = {p.relative_to(place).as_posix(): p for p in sorted(place.rglob("*")) if p.is_file()}
            return cls(place, [name for name in paths if _is_shown(name)], lambda name: _read(paths[name]))
        data = _read(place)
        if zipfile.is_zipfile(io.BytesIO(data)):
            return cls._of_archive(place, data)
        whole = Path(os.path.abspath(place)).parent.parent  # noqa: PTH100 - a link is where it is, not where it leads
        folders = [whole / place.absolute().parent.name, whole]
        folders = [path for folder in folders for path in (folder, folder / "images")]

        def sibling(name: str) -> bytes | None:
            if "\0" in name:
                return None
            for folder in folders:
                # A name may lead anywhere; only images near the file are those of its dataset.
                path = Path(os.path.normpath(folder / name))
                if path.is_relative_to(whole) and path.is_file():
                    return _read(path)
            return None

        return cls(
            place,
            [place.name],
            lambda name: data if name == place.name else _read(place.with_name(name)),
            True,
            sibling,
        )

    @classmethod
    def _of_archive(cls, place: Path, data: bytes) -> DatasetFiles:
        try:
            archive = zipfile.ZipFile(io.BytesIO(data))
        except UNPACKING_ERRORS as error:
            raise UserError(f"{place} cannot be unpacked: {error}") from error
        entries = {each.filename: each for each in archive.infolist() if not each.is_dir() and _is_shown(each.filename)}
        if sum(each.file_size for each in entries.values()) > _MOST_BYTES:
            raise UserError(f"{place}: expected at most {_MOST_BYTES >> 30} GiB in it, found more; unpack it")

        def content(name: str) -> bytes:
            try:
                return archive.read(entries[name])
            except UNPACKING_ERRORS as error:
                raise UserError(f"{place} cannot be unpacked: {error}") from error

        return cls(place, sorted(entries), content)

    def text(self, name: str) -> bytes:
        """Return the content of a text file, without the mark that some programs put before it."""
        return self.content(name).removeprefix(_BOM)

    def ending(self, *suffixes: str) -> list[str]:
        """Return the files with one of these suffixes, in order."""
        return [name for name in self.names if name.lower().endswith(suffixes)]

    @cached_property
    def _images(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in self.names:
            if suffix_of(name) in IMAGES:
                found.setdefault(composed(name).rpartition("/")[2], []).append(name)
        return found

    def image(self, name: str) -> bytes | None:
        """Return the image that a label file names: of this path, or the only one whose path ends so; None for none.

        A name without a suffix is that of an image with any. Of several whose paths end so, it is the one in the folder
        that has all others below it: what `cam/1.png` is there, and not in `site/cam` of the same folder.
        """
        if self.is_file:
            return self.sibling(name)
        wanted = composed(name)
        last = wanted.rpartition("/")[2]
        named = self._images.get(last, [])
        if not named and suffix_of(last) not in IMAGES:
            named = [path for suffix in IMAGES for path in self._images.get(last + suffix, [])]
        scored = [(common_parts(composed(path), wanted), path) for path in named]
        most = max(scored, default=(0, ""))[0]
        best = [path for score, path in scored if score == most]
        roots = {path: path.split("/")[:-most] for path in best}
        if first := min(best, key=lambda path: len(roots[path]), default=None):
            n = len(roots[first])
            if all(root[:n] == roots[first] and (len(root) > n or path == first) for path, root in roots.items()):
                return self.content(first)
        return None


def composed(name: str) -> str:
    """Return a name with composed letters, as macOS does not write them."""
    return unicodedata.normalize("NFC", name.replace("\\", "/"))


def suffix_of(name: str) -> str:
    """Return the suffix of a path in lower case, with its dot; "" for none."""
    last = name.rpartition("/")[2]
    return f".{last.rpartition('.')[2].lower()}" if "." in last else ""


def common_parts(one: str, other: str) -> int:
    """Return how many parts of two paths are equal, from the end on; the last ones count as equal without suffixes."""
    firsts, others = one.split("/"), other.split("/")
    n = 1
    while n < min(len(firsts), len(others)) and firsts[-n - 1] == others[-n - 1]:
        n += 1
    return n


def _is_shown(name: str) -> bool:
    """Return whether a path is no hidden file, nor one of the shadows that macOS puts into archives."""
    return not any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _read(path: Path) -> bytes:
    try:
        # Reading a pipe waits for ever, and a device may have no end.
        if path.exists() and not path.is_file():
            raise UserError(f"{path}: expected a file, found something else")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
