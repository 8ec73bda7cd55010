"""What in a folder an export has put there: only that may give way to the next one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from jobs.datasets.atomic_publish import BROKEN_OFF
from jobs.storage.paths import Place
from transforms.frames.numbering import EXTENSIONS

MANIFEST = "manifest.json"
PICTURES = "pictures.txt"
"""Names every picture of an export, a line each, in order; an export that brings none along has no such file."""

_FRAME_NAME = re.compile(rf"[0-9]\.(?:{'|'.join(EXTENSIONS)})$", re.IGNORECASE)


def list_of(names: pa.ChunkedArray) -> bytes:
    """Return the content of `PICTURES` for pictures of these names."""
    return "".join(f"{name}\n" for name in sorted(names.to_pylist())).encode()


def foreign(out: Place, folders: Mapping[str, str]) -> str | None:
    """Say what in a folder no export has put there, None if there is nothing of the kind.

    `folders` says for each format where its pictures go.
    """
    found = set(out.files_below())
    if not found:
        return None
    if MANIFEST not in found:
        # In a bucket, that is what an upload has left which broke off: the manifest comes last.
        return None if BROKEN_OFF in found else min(found)
    try:
        manifest = json.loads((out / MANIFEST).read())
        own = {MANIFEST, *manifest["files"]} if manifest["content"] else set()
        folder, n_frames = folders[manifest["format"]], sum(manifest["frames"].values())
        media = manifest["media"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return MANIFEST
    rest = found - own
    if not own:
        return MANIFEST
    if PICTURES in own & found:
        return min(rest - set(_lines(out / PICTURES)), default=None)
    below = {name for name in rest if name.startswith(folder)}
    return min(rest - below, default=None) or _beside_unlisted(below, n_frames if media != "none" else 0, manifest)


def _lines(file: Place) -> list[str]:
    return file.read().decode(errors="replace").split("\n")


def _beside_unlisted(pictures: Iterable[str], n_frames: int, manifest: Mapping[str, Any]) -> str | None:
    """Say what lies among the pictures of an export that has no list of them, as earlier versions made.

    They are taken for its own if they are called like frames, lie in its splits, and are as many as it has frames.
    """
    pictures = sorted(pictures)
    for name in pictures:
        splits = {f"/{split}/" for split in manifest["frames"]}
        if not _FRAME_NAME.search(name) or not any(split in name for split in splits):
            return name
    if len(pictures) > n_frames:
        return f"{len(pictures)} pictures where it had {n_frames}, as an earlier version did not list them"
    return None
