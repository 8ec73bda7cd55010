"""Text of SQL: where statements end, in what people type or pipe in."""

from __future__ import annotations

import re

_PIECE = re.compile(
    r"""
    '(?:[^']|'')*' | "(?:[^"]|"")*" | --[^\n]* | /\*.*?\*/ | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$
    | ; | [^'"$;/-]+ | .
    """,
    re.VERBOSE | re.DOTALL,
)
_OPEN = re.compile(r""" ' | " | /\* | \$\w*\$ """, re.VERBOSE)


def split_statements(text: str) -> tuple[list[str], str]:
    r"""Return the statements that end in a semicolon, without it, and what is left.

    Semicolons in strings, quoted names and comments end nothing. What is left is empty where it is only space and
    comments; where a string or a comment is not closed, it begins with the statement that this is in.

    >>> split_statements("SELECT ';'; -- a; b\nSELECT 1")
    (["SELECT ';'"], '-- a; b\nSELECT 1')
    """
    found: list[str] = []
    start, at, says = 0, 0, False
    while at < len(text):
        piece = _PIECE.match(text, at)
        assert piece is not None
        if len(piece[0]) == 1 and _OPEN.match(text, at):
            return found, text[start:].strip()
        at = piece.end()
        if piece[0] == ";":
            if says:
                found.append(text[start : at - 1].strip())
            start, says = at, False
        elif not piece[0].startswith(("--", "/*")) and piece[0].strip():
            says = True
    return found, text[start:].strip() if says else ""
