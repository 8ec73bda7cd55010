"""What a look at a machine or a workspace found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "note", "broken"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: how it is, and, unless it is well, what mends it."""

    subject: str
    level: Level
    found: str
    mend: str = ""


def size_text(n: float) -> str:
    """Return a number of bytes for people."""
    return f"{n / (1 << 30):,.1f} GiB"
