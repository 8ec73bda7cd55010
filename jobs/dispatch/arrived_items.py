"""What is below a watched folder: clips, recordings and folders of frames, as inputs of a run with ids of their own."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from blake3 import blake3

from jobs.core.errors import UserError
from jobs.ingest import folders
from jobs.ingest.folders import DiskTree
from jobs.storage.paths import Place, absolute, place
from jobs.uploads.named_inputs import UPLOAD
from jobs.uploads.upload_store import FILES, FOLDER

_EDGE_BYTES = 1 << 20


@dataclass(frozen=True)
class Item:
    """One input: `key` is its path below what is watched.

    `state` changes whenever it is written to.
    """

    key: str
    path: str
    stream_id: str
    state: str

    def fingerprint(self) -> str:
        """Return what changes where this is other data, 64 hexadecimal digits: a file that is only touched keeps it."""
        path = Path(self.path)
        if path.is_dir():
            return blake3(repr([row[:2] for row in _files(path)]).encode()).hexdigest()
        size = path.stat().st_size
        with open(path, "rb") as file:
            head = file.read(_EDGE_BYTES)
            file.seek(max(0, size - _EDGE_BYTES))
            return blake3(f"{size}\n".encode() + head + file.read(_EDGE_BYTES)).hexdigest()


def source_folder(root: Place, source: str) -> Path:
    """Return the folder of what is watched. Raises `UserError` for one in a bucket, which nobody watches."""
    if source.startswith(UPLOAD):
        folder = root.on_disk()
        name = source.removeprefix(UPLOAD)
        if folder is None or ".." in PurePosixPath(name).parts or name.startswith("/"):
            raise UserError(f"{source}: expected the name of a folder of uploads")
        return folder / FOLDER / FILES / name
    found = absolute(source).on_disk()
    if found is None:
        raise UserError(f"{source}: expected a folder on disk; prefixes in buckets are run by a schedule")
    return found


def items_below(root: Place, source: str) -> list[Item]:
    """Return what is there now, in order of path; nothing for a folder that is not there yet.

    Raises `UserError` with what cannot be read.
    """
    top = source_folder(root, source)
    if top.is_file():
        return [_item(top, top.name, top.stem)]
    if not top.is_dir():
        return []
    problems: list[str] = []
    found = [Path(str(each)) for each in folders.below(top, "*", problems)]
    if problems:
        raise UserError(problems)
    own = [top] if DiskTree(top).holds_frames(place(top), "*") else []
    short = Counter(_short(each, top) for each in found)
    items = [_item(each, ".", each.name) for each in own]
    for each in found:
        key = each.relative_to(top).as_posix()
        items.append(_item(each, key, _short(each, top) if short[_short(each, top)] == 1 else key))
    return items


def _short(path: Path, top: Path) -> str:
    below = path.relative_to(top)
    return (below if path.is_dir() else below.with_suffix("")).as_posix()


def _item(path: Path, key: str, stream_id: str) -> Item:
    if path.is_dir():
        state = blake3(repr(_files(path)).encode()).hexdigest()
    else:
        status = path.stat()
        state = f"{status.st_size} {status.st_mtime_ns}"
    return Item(key, str(path), stream_id, state)


def _files(folder: Path) -> list[tuple[str, int, int]]:
    """Return names, sizes and times of the files of a folder, in order."""
    files = folders.scan(folder)
    return sorted(zip(files.names.to_pylist(), files.sizes.tolist(), files.mtimes.tolist(), strict=True))
