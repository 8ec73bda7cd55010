"""Recognition of an earlier export's files in a folder, the only files that a new export may replace."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from jobs.datasets.atomic_publish import BROKEN_OFF
from jobs.storage.paths import Place
from transforms.frames.name_pattern import EXTENSIONS

MANIFEST = "manifest.json"
PICTURES = "pictures.txt"
"""Lists every image of an export, one per line, in order; an export without images has no such file."""

_FRAME_NAME = re.compile(rf"[0-9]\.(?:{'|'.join(EXTENSIONS)})$", re.IGNORECASE)


def list_of(names: pa.ChunkedArray) -> bytes:
    """Return the content of `PICTURES` for images of these names."""
    return "".join(f"{name}\n" for name in sorted(names.to_pylist())).encode()


def foreign(out: Place, folders: Mapping[str, str]) -> str | None:
    """Return a file in a folder that no export has written, or None.

    `folders` gives for each format where its images are.
    """
    found = set(out.files_below())
    if not found:
        return None
    if MANIFEST not in found:
        # In a bucket, an interrupted upload has no manifest, which is written last.
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


def other_dataset(out: Place, workspace: str | None, release: str | None) -> str | None:
    """Return of what another dataset in a folder is: of another workspace, or of another release; None for no other.

    `workspace` is the first run of the one that is exported, `release` its release.
    """
    try:
        source = json.loads((out / MANIFEST).read())["source"]
        found, of = source.get("workspace"), source["release"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if found != workspace:
        return "another workspace"
    return f"release {of}" if of and of != release else None


def _lines(file: Place) -> list[str]:
    return file.read().decode(errors="replace").split("\n")


def _beside_unlisted(pictures: Iterable[str], n_frames: int, manifest: Mapping[str, Any]) -> str | None:
    """Return a foreign file among the images of an export without a list of them, as earlier versions made, or None.

    Files are taken for its own if they are named like frames, are in its splits, and are not more than its frames.
    """
    pictures = sorted(pictures)
    for name in pictures:
        splits = {f"/{split}/" for split in manifest["frames"]}
        if not _FRAME_NAME.search(name) or not any(split in name for split in splits):
            return name
    if len(pictures) > n_frames:
        return f"{len(pictures)} pictures where it had {n_frames}, as an earlier version did not list them"
    return None
