"""Recognition of an earlier export's files in a folder, the only files that a new export may replace."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc
from blake3 import blake3

from jobs.datasets.atomic_publish import BROKEN_OFF
from jobs.storage.paths import Place

MANIFEST = "manifest.json"
IMAGE_LIST = "pictures.txt"
"""Lists every image of an export, one per line, in order; an export without images has no such file."""


def list_of(names: pa.ChunkedArray) -> bytes:
    """Return the content of `IMAGE_LIST` for images of these names."""
    return "".join(f"{name}\n" for name in sorted(names.to_pylist())).encode()


def foreign(out: Place) -> str | None:
    """Return a file in a folder that no export has written, or None."""
    found = set(out.files_below())
    if not found:
        return None
    if MANIFEST not in found:
        # In a bucket, an interrupted upload has no manifest, which is written last.
        return None if BROKEN_OFF in found else min(found)
    try:
        own = {MANIFEST, *json.loads((out / MANIFEST).read())["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return MANIFEST
    listed = set(_lines(out / IMAGE_LIST)) if IMAGE_LIST in own & found else set()
    # Ultralytics keeps what it has read of a folder of labels next to it, and computes it again where it differs.
    caches = {name for name in found if name.startswith("labels/") and name.endswith(".cache")}
    return min(found - own - listed - caches, default=None)


def edited(out: Place) -> list[str]:
    """Return the files in a folder that are not what the export has written there, sorted; none without its manifest.

    The manifest has the hash of every file but of images, which are copies: what they show is in the tables.
    """
    try:
        written = json.loads((out / MANIFEST).read())["files"]
        return sorted(_edited(out, written)) if isinstance(written, dict) else []
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _edited(out: Place, written: Mapping[str, object]) -> Iterator[str]:
    for name, expected in written.items():
        at = out / name
        on_disk = at.on_disk()
        if on_disk is not None and on_disk.is_symlink():
            # An export writes no links but those to images.
            yield name
            continue
        try:
            # Shards are large: those on disk are not held in memory.
            hasher = blake3(at.read()) if on_disk is None else blake3().update_mmap(on_disk)
        except FileNotFoundError:
            # What was deleted holds nothing that could be lost.
            continue
        if hasher.hexdigest() != expected:
            yield name


def other_dataset(out: Place, workspace: str | None, release: str | None, format_: str) -> str | None:
    """Return which other dataset a folder has: of another workspace or release, or in another format; None for none.

    `workspace` is the first run of the one that is exported, `release` its release, `format_` the format.
    """
    try:
        manifest = json.loads((out / MANIFEST).read())
        found, of = manifest["source"].get("workspace"), manifest["source"]["release"]
        written = manifest["format"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if found != workspace:
        return "of another workspace"
    if of != release:
        return f"of release {of}" if of else "of no release"
    return f"in format {written}" if written != format_ else None


def _lines(file: Place) -> list[str]:
    return file.read().decode(errors="replace").split("\n")


def split_counts(splits: pa.ChunkedArray) -> dict[str, int]:
    """Return the number of frames in each split."""
    return {each["values"]: each["counts"] for each in pc.value_counts(splits).to_pylist()}


def content_digest(rows: pa.Table) -> str:
    """Return a hash of the images in each split: datasets with equal hashes contain the same data."""
    hasher = blake3()
    for split, content in zip(rows["split"].to_pylist(), rows["content_hash"].to_pylist(), strict=True):
        hasher.update(f"{split}:{content}\n".encode())
    return hasher.hexdigest()
