"""What a look at a machine or a workspace found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jobs.core.errors import BrokenTableError, one_line

Level = Literal["ok", "note", "broken"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: how it is, and, unless it is well, what mends it."""

    subject: str
    level: Level
    found: str
    mend: str = ""


def broken_table(subject: str, error: BrokenTableError) -> Finding:
    """Return what is wrong with a table, and what mends it, as the error has them."""
    found, _, mend = one_line(error).partition("; ")
    return Finding(subject, "broken", found, mend)


def size_text(n: float) -> str:
    """Return a number of bytes for people."""
    return f"{n / (1 << 30):,.1f} GiB"
