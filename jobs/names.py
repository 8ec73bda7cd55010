"""The names that users give to releases and selections."""

from __future__ import annotations

import re

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def wrong_with(kind: str, name: str) -> str | None:
    """Return what is wrong with a name for a thing of this kind, None if nothing is."""
    if _NAME.fullmatch(name):
        return None
    return f"{kind} name {name!r}: expected letters, digits, dots, dashes and underscores"
