"""Results of checks of a machine or a workspace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jobs.core.errors import BrokenTableError, one_line

Level = Literal["ok", "note", "broken"]


@dataclass(frozen=True)
class Finding:
    """One thing that was checked: its condition, and, unless it is ok, the fix."""

    subject: str
    level: Level
    found: str
    fix: str = ""


def broken_table(subject: str, error: BrokenTableError) -> Finding:
    """Return what is wrong with a table, and the fix, from an error's message."""
    found, _, fix = one_line(error).partition("; ")
    return Finding(subject, "broken", found, fix)


def size_text(n: float) -> str:
    """Return a number of bytes for people."""
    return f"{n / (1 << 30):,.1f} GiB"
