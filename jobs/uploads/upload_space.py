"""How much may be sent: what the disk has left, less what was promised to others, and the quota of a project."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterable
from pathlib import Path

from jobs.uploads.errors import NoSpaceError
from jobs.uploads.upload_record import Upload

_KEPT_BYTES = 2_000_000_000
_KEPT_SHARE = 0.05


def kept_free(folder: Path) -> int:
    """Return how many bytes of a disk uploads leave free: 2 GB, or 5 % of a smaller disk."""
    return min(_KEPT_BYTES, int(shutil.disk_usage(folder).total * _KEPT_SHARE))


def check_space(folder: Path, length: int, promised: int, kept: int, quota: int | None) -> None:
    """Raise `NoSpaceError` where an upload of `length` bytes does not fit.

    `promised`: bytes that are still to come of other uploads. `kept`: bytes of the project's uploads that are there.
    """
    if quota is not None and kept + promised + length > quota:
        raise NoSpaceError(
            f"expected at most {quota:,} bytes of uploads in this project, found {kept + promised:,} and {length:,} "
            "more; delete some, or have the quota raised (`winnow serve --upload-quota`)"
        )
    free = shutil.disk_usage(folder).free - kept_free(folder) - promised
    if length > free:
        raise NoSpaceError(
            f"the disk has room for {max(0, free):,} bytes, expected {length:,}: {kept_free(folder):,} stay free and "
            f"{promised:,} are promised to other uploads; free some space"
        )


def check_disk(folder: Path) -> None:
    """Raise `OSError` (ENOSPC) where a disk has got so full meanwhile that uploads stop."""
    if shutil.disk_usage(folder).free < kept_free(folder) // 2:
        raise OSError(errno.ENOSPC, "the disk is nearly full", str(folder))


def kept_bytes(uploads: Iterable[Upload]) -> int:
    """Return how many bytes finished uploads take; equal content counts once, and what is registered not at all."""
    by_content = {u.blake3 or u.upload_id: u.length for u in uploads if u.source is None and u.state != "receiving"}
    return sum(by_content.values())
