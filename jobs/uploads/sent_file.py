"""Files as their sender knows them: which of a folder are sent, and by what they are known when they come back."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from blake3 import blake3

from jobs.core.errors import UserError
from jobs.uploads.upload_names import EXTENSIONS

_EDGE_BYTES = 1 << 20
_READ_BYTES = 1 << 20


class ChangedFileError(UserError):
    """A file has changed while it was sent."""


@dataclass(frozen=True)
class SentFile:
    """A file to be sent, and the name that it is to have."""

    path: Path
    name: str
    length: int
    mtime_ns: int

    def fingerprint(self) -> str:
        """Return what tells this file from others without reading all of it, 64 hexadecimal digits.

        It is of name, size, time of change, and both ends of the content.
        """
        with open(self.path, "rb") as file:
            head = file.read(_EDGE_BYTES)
            file.seek(max(0, self.length - _EDGE_BYTES))
            tail = file.read(_EDGE_BYTES)
        text = f"{self.name}\n{self.length}\n{self.mtime_ns}\n".encode()
        return str(blake3(text + head + tail).hexdigest())

    def content(self) -> str:
        """Return the BLAKE3 of the whole file; it is read for that."""
        content = blake3()
        with open(self.path, "rb") as file:
            while piece := file.read(_READ_BYTES):
                content.update(piece)
        return str(content.hexdigest())

    def check(self) -> None:
        """Raise `ChangedFileError` if the file is not as it was when it was listed."""
        now = self.path.stat()
        if (now.st_size, now.st_mtime_ns) != (self.length, self.mtime_ns):
            raise ChangedFileError(f"{self.path} changed while it was sent; send it again once nobody writes it")


class SentBytes:
    """Pieces of a file from an offset on, hashed on their way; what was sent before is read for the hash."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = open(path, "rb")  # noqa: SIM115 - closed by `close`
        self._content: Any = blake3()
        self._n_hashed = 0

    def pieces(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes of an interval, a megabyte at a time."""
        at = start
        while at < stop:
            piece = os.pread(self._file.fileno(), min(_READ_BYTES, stop - at), at)
            if not piece:
                raise ChangedFileError(f"{self._file.name} became shorter while it was sent")
            if at == self._n_hashed:
                self._content.update(piece)
                self._n_hashed += len(piece)
            at += len(piece)
            yield piece

    def content(self, length: int) -> str:
        """Return the BLAKE3 of the first `length` bytes."""
        for _ in self.pieces(self._n_hashed, length):
            pass
        return str(self._content.hexdigest())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def listed(paths: Sequence[Path], folder: str | None = None) -> tuple[list[SentFile], list[Path]]:
    """Return the files to send, and those of folders that no run can read, which are not sent.

    Files of a folder are named by their path from that folder on; `folder` is put before all names. Raises `UserError`
    with all that is not there, or is named as nothing that a run can read.
    """
    problems: list[str] = []
    found: list[SentFile] = []
    others: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = [each for each in sorted(path.rglob("*")) if each.is_file() and not _is_hidden(each, path)]
            top = path.resolve().name
            for each in inside:
                if _is_usable(each):
                    found.append(_sent(each, "/".join((top, each.relative_to(path).as_posix())), folder))
                else:
                    others.append(each)
            if not any(map(_is_usable, inside)):
                problems.append(f"{path}: expected clips, recordings or images, found none")
        elif not path.is_file():
            problems.append(f"{path}: expected a file or a folder, found none")
        elif not _is_usable(path):
            problems.append(f"{path}: expected a clip, a recording or an image ({', '.join(EXTENSIONS)})")
        else:
            found.append(_sent(path, path.name, folder))
    if empty := [file for file in found if not file.length]:
        problems += [f"{file.path}: expected bytes, found an empty file" for file in empty]
    names = [file.name for file in found]
    if twice := sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []:
        problems.append(f"two files of the name {twice[0]}; send them with another --folder each")
    if problems:
        raise UserError(problems)
    return found, others


def _sent(path: Path, name: str, folder: str | None) -> SentFile:
    status = path.stat()
    return SentFile(path, f"{folder.strip('/')}/{name}" if folder else name, status.st_size, status.st_mtime_ns)


def _is_usable(path: Path) -> bool:
    return path.suffix.lower().removeprefix(".") in EXTENSIONS


def _is_hidden(path: Path, top: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(top).parts)
