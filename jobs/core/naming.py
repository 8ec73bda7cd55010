"""Names of releases and selections, ids of jobs, and formatting of counts."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

_LAST = re.compile(r"last(?:~(\d+))?")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_UNSHOWN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_LONGEST_CATEGORY = 500
_SHOWN = 60

MEASURE = "measure"
"""The name under which the stages that read pixels pause and step: they are one pass."""


def counted_back(name: str, ids: Iterable[str]) -> str:
    """Return the id for `last`, or `last~1` for the one before it; other names unchanged.

    Ids sort by time. If there are not that many, the name is returned unchanged too.
    """
    found = _LAST.fullmatch(name)
    back = int(found[1] or 0) + 1 if found else 0
    known = sorted(ids) if found else []
    return known[-back] if 0 < back <= len(known) else name


def wrong_with(kind: str, name: str) -> str | None:
    """Return what is wrong with the name of a thing of this kind, or None."""
    if _NAME.fullmatch(name):
        return None
    return f"{kind} name {name!r}: expected letters, digits, dots, dashes and underscores"


def wrong_with_category(name: str) -> str | None:
    """Return what is wrong with the name of a category, or None: empty ones, and characters that no label shows."""
    if not name.strip():
        return f"category {name!r}: expected a name, found an empty one"
    if found := _UNSHOWN.search(name):
        return f"category {name[:_SHOWN]!r}: expected a name on one line, found the character {found[0]!r} in it"
    if len(name) > _LONGEST_CATEGORY:
        return f"category {name[:_SHOWN]!r}…: expected at most {_LONGEST_CATEGORY} characters, found {len(name):,}"
    return None


def new_job_id() -> str:
    """Return an id for a run; ids sort by time, to the millisecond."""
    now = datetime.now(UTC)
    return f"{now:%Y%m%d-%H%M%S}-{now.microsecond // 1000:03}{secrets.token_hex(2)}"


def shortened(inputs: Sequence[str], most: int = 2) -> str:
    """Return the inputs of a job in a line: the first ones, and how many more there are."""
    more = f" and {len(inputs) - most:,} more" if len(inputs) > most else ""
    return ", ".join(inputs[:most]) + more


_OF_ONE = {"are": "is", "were": "was", "have": "has", "differ": "differs", "resemble": "resembles", "leak": "leaks"}
_SIBILANT = re.compile(r"(?:s|x|z|ch|sh)$")
_CONSONANT_Y = re.compile(r"(?<=[^aeiou])y$")


def many(n: int, what: str, does: str = "") -> str:
    """Return a count with its noun, `what` being the singular, and with `does`, a verb as it is after a plural."""
    if n == 1:
        return f"1 {what}{does and f' {_OF_ONE[does]}'}"
    several = _CONSONANT_Y.sub("ie", what)
    return f"{n:,} {several}{'es' if _SIBILANT.search(what) else 's'}{does and f' {does}'}"
