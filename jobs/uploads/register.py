"""Data that is on the server already: named for runs without a copy, if it is below a folder that is allowed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jobs.core.errors import UserError
from jobs.ingest import folders
from jobs.ingest.object_tree import tree_of
from jobs.storage.paths import place


def checked_source(given: str, allowed: Sequence[Path]) -> Path:
    """Return the real path of a folder or a file below one of the allowed folders, links followed.

    Raises `UserError` for any other one, and for what holds nothing that a run can read. Nothing is learned about
    places that are not allowed: whether they exist is not said.
    """
    if not allowed:
        raise UserError("no folders are allowed here; `winnow serve --allow-input DIR` allows some")
    if not Path(given).is_absolute():
        raise UserError(f"path {given!r}: expected an absolute path of the server")
    real = Path(os.path.realpath(given))
    if not any(real.is_relative_to(os.path.realpath(root)) for root in allowed):
        raise UserError(f"path {given}: expected a path below {', '.join(map(str, allowed))}")
    if not real.exists():
        raise UserError(f"path {given}: expected a folder or a file, found none")
    return real


def found_in(source: Path) -> dict[str, Any]:
    """Return what is at a place: its kind, and the number of its streams. Raises `UserError` for nothing usable."""
    problems: list[str] = []
    root = folders.existing(str(source), problems)
    tree = tree_of(str(source), root, problems) if root is not None else None
    if problems or root is None or tree is None:
        raise UserError(problems or [f"path {source}: expected a folder or a clip"])
    if not tree.is_folder(root):
        return {"kind": "recording" if folders.is_recording(root) else "clip", "size_bytes": source.stat().st_size}
    n = 1 if tree.holds_frames(root, "*") else sum(1 for _ in tree.below("*", problems))
    if problems or not n:
        raise UserError(problems or [f"path {source}: expected frames or clips, found none"])
    return {"kind": "folder", "streams": n, "at": str(place(source))}
