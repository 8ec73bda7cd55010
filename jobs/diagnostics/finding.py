"""Results of checks of a machine or a workspace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jobs.core.errors import BrokenTableError, one_line

_SHOWN = 3

Level = Literal["ok", "note", "broken"]


@dataclass(frozen=True)
class Finding:
    """One thing that was checked: its condition, the fix unless it is ok, and the table that lost something."""

    subject: str
    level: Level
    found: str
    fix: str = ""
    table: str = ""


def broken_table(subject: str, error: BrokenTableError | str, table: str = "") -> Finding:
    """Return what is wrong with a table, and the fix, from an error's message."""
    found, _, fix = one_line(error).partition("; ")
    return Finding(subject, "broken", found, fix, table)


def size_text(n: float) -> str:
    """Return a number of bytes for people."""
    return f"{n / (1 << 30):,.1f} GiB"


def some(names: Sequence[str]) -> str:
    """Return the first names of a list, and how many more there are."""
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
