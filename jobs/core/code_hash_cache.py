"""Hashes of code that earlier processes computed, kept in the user's cache folder.

Reading the syntax trees of the stages takes half a second of processor time, which every command of every day would
spend on code that has not changed. A file holds the hashes for one state of the sources; its name is the digest of all
of them, so that it is never out of date. It may be deleted at any time.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from blake3 import blake3

import transforms
from jobs.core.code_names import Definition

_HASHED = Path(next(iter(transforms.__path__)))
_HASHING = Path(__file__).parent


def remembered(entries: Sequence[Definition], compute: Callable[[], str]) -> str:
    """Return the hash of the code of these functions: as it was written down for these very sources, or computed now.

    Functions outside of `transforms` are always computed, since their sources may be anywhere. A cache that cannot be
    read, or written, is done without.
    """
    if not all(entry.module.partition(".")[0] == _HASHED.name for entry in entries):
        return compute()
    asked = " ".join(sorted(f"{entry.module}:{entry.name}" for entry in entries))
    try:
        file = folder() / f"{_state_of_sources()}.json"
    except (OSError, RuntimeError):  # `Path.expanduser` raises the latter for a user without a home.
        return compute()
    known = _read(file)
    if asked not in known:
        known[asked] = compute()
        _write(file, known)
    return known[asked]


def folder() -> Path:
    """Return the folder of the cache: `code` in `winnow` in `$XDG_CACHE_HOME`, by default `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "winnow" / "code"


@cache
def _state_of_sources() -> str:
    """Return a digest of all that a hash depends on: the sources that are followed, how, and by which Python."""
    files = {str(file.relative_to(_HASHED)): file for file in sorted(_HASHED.rglob("*.py"))}
    files |= {f"../{name}": _HASHING / name for name in ("code_hash.py", "code_names.py")}
    digest = blake3(sys.version.encode())
    for name, file in files.items():
        text = file.read_bytes()
        digest.update(f"{name} {len(text)}\n".encode() + text)
    return digest.hexdigest()[:32]


@cache
def _read(file: Path) -> dict[str, str]:
    """Return what a file holds; nothing where it is missing, or is not as it was written."""
    try:
        checksum, _, text = file.read_text(encoding="utf-8").partition("\n")
        return dict(json.loads(text)) if checksum == blake3(text.encode()).hexdigest() else {}
    except (OSError, ValueError):
        return {}


def _write(file: Path, known: dict[str, str]) -> None:
    """Write a file as a whole; two processes that do so at once cost one of them a hash that it computes again."""
    text = json.dumps(known, indent=1, sort_keys=True)
    with suppress(OSError), tempfile.TemporaryDirectory(dir=_made(file.parent)) as spare:
        whole = Path(spare) / file.name
        whole.write_text(f"{blake3(text.encode()).hexdigest()}\n{text}", encoding="utf-8")
        whole.replace(file)
        _keep_newest(file.parent)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _keep_newest(place: Path, n: int = 8) -> None:
    """Delete the files of all but the newest states of the sources."""
    files = sorted(place.glob("*.json"), key=lambda each: each.stat().st_mtime_ns, reverse=True)
    for old in files[n:]:
        old.unlink(missing_ok=True)
