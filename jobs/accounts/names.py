"""Names to sign in with: how they are stored, and which ones people could take for one another."""

from __future__ import annotations

import unicodedata

from jobs.core.errors import UserError

LONGEST = 100

RESERVED = frozenset({"local", "terminal", "?"})
"""What the audit and the terminal call themselves."""

DEMO = "demo-"
"""How names of accounts begin that are there to try a server."""

# Letters of other scripts, and digits, that look like a Latin letter; the usual ones, after lower case.
_LATIN = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u0501\u0261\u04bb\u051b\u051d\u043a"
    "\u043c\u0442\u043d\u0432\u04cf\u03bf\u03b1\u03bd\u03b9\u03ba\u03c1\u03c4\u03c5\u03c7\u03b3\u03b5"
    "\u03b7\u0131\u0578\u057d\u0585\u056601",
    "aeopcyxijsdghqwkmthbloavikptuxyeninuoqol",
)


def checked_name(name: str) -> str:
    """Return a name as it is stored and compared. Raises `UserError` for one that others could not type."""
    found = name
    # Lower case can need composing once more.
    for _ in range(2):
        found = unicodedata.normalize("NFKC", found).strip().casefold()
    if not found or len(found) > LONGEST or any(unicodedata.category(c)[0] in "CZ" for c in found):
        raise UserError(
            f"name: expected 1 to {LONGEST} characters without spaces and control characters, as in "
            f"jane or jane@example.org, found {name[:LONGEST]!r}"
        )
    return found


def is_reserved(name: str) -> bool:
    """Return whether a checked name is for accounts that the program makes alone."""
    return name in RESERVED or name.startswith(DEMO)


def skeleton(name: str) -> str:
    """Return what a checked name looks like; two accounts of one look are refused."""
    return name.translate(_LATIN)
