"""Checks of data files and images: that all are there, as large as the tables say, and with the bytes as written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import schemas
from jobs.core.naming import many
from jobs.diagnostics.finding import Finding, some
from jobs.storage import image_files, maintenance
from jobs.storage.data_files import is_what_its_name_says
from jobs.storage.paths import Place
from jobs.storage.store import Store

_READERS = 4
_FIX = "bring them back from a backup, or run the streams again under another --workspace"


def referred(store: Store) -> dict[str, int | None]:
    """Return the files, below the workspace, that the newest tables and the releases are made of, and images.

    With the size that the tables say (bytes); None for images. Versions whose loss was accepted are left out.
    """
    stores = [store]
    for row in store.read(schemas.RELEASES, ("manifest", "created_ns")).to_pylist():
        tables = json.loads(row["manifest"])["tables"]
        kept = {name: n for name, n in tables.items() if not store.written.is_accepted(name, row["created_ns"])}
        stores.append(Store(store.root, kept))
    files: dict[str, int | None] = {
        f"{table.name}/{file.path}": file.size_bytes
        for s in stores
        for table in schemas.ALL
        for file in s.open(table).files
    }
    return files | dict.fromkeys(maintenance.images_of(stores))


def presence(store: Store, files: Mapping[str, int | None]) -> Iterator[Finding]:
    """Yield whether all files are there, with the sizes that the tables say."""
    folders = (*(table.name for table in schemas.ALL), image_files.FOLDER)
    there = {f"{name}/{path}": size for name in folders for path, size in (store.root / name).sizes_below()}
    missing = sorted(files.keys() - there.keys())
    wrong = [name for name, size in sorted(files.items()) if name in there and size not in {None, there[name]}]
    if missing:
        text = f"{len(missing)} of {len(files)} are missing: {some(missing)}"
        yield Finding("files", "broken", text + (f"; {_wrong(wrong)}" if wrong else ""), _FIX)
    elif wrong:
        yield Finding("files", "broken", _wrong(wrong), _FIX)
    else:
        yield Finding("files", "ok", f"{len(files)}, all there, as large as they were written")


def _wrong(names: list[str]) -> str:
    return f"{len(names)} are not as large as they were written: {some(names)}"


def hashes(store: Store, files: Mapping[str, int | None]) -> Finding:
    """Read all files, and return whether their bytes are those that were written."""
    names = sorted(files)
    with ThreadPoolExecutor(_READERS) as readers:
        whole = readers.map(lambda name: _is_whole(store.root / name), names)
        wrong = [name for name, same in zip(names, whole, strict=True) if not same]
    if wrong:
        fix = "bring them back from a backup; what they held can be computed again in another workspace"
        return Finding(
            "hashes", "broken", f"{len(wrong)} of {len(names)} files are not what was written: {some(wrong)}", fix
        )
    return Finding("hashes", "ok", f"{many(len(names), 'file', 'are')} what was written")


def _is_whole(path: Place) -> bool:
    try:
        return is_what_its_name_says(path.name, path.read())
    except OSError:
        return False
