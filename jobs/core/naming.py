"""The names that users give to releases and selections, and those that jobs give themselves."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime

_LAST = re.compile(r"last(?:~(\d+))?")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def counted_back(name: str, ids: Iterable[str]) -> str:
    """Return the id that `last`, or `last~1` for the one before, stands for; any other name as it is.

    Ids sort by time. Where there are not so many, the name stays as it is, too.
    """
    found = _LAST.fullmatch(name)
    back = int(found[1] or 0) + 1 if found else 0
    known = sorted(ids) if found else []
    return known[-back] if 0 < back <= len(known) else name


def wrong_with(kind: str, name: str) -> str | None:
    """Return what is wrong with a name for a thing of this kind, None if nothing is."""
    if _NAME.fullmatch(name):
        return None
    return f"{kind} name {name!r}: expected letters, digits, dots, dashes and underscores"


def new_job_id() -> str:
    """Return an id for a run; ids sort by time, to the millisecond."""
    now = datetime.now(UTC)
    return f"{now:%Y%m%d-%H%M%S}-{now.microsecond // 1000:03}{secrets.token_hex(2)}"


def many(n: int, what: str) -> str:
    """Return a number of things, `what` being the name of one of them."""
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"
