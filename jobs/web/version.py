"""The version of the program, and the build of its pages, by which a page that is open sees that it is an old one."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import metadata
from pathlib import Path

STATIC = Path(__file__).parent / "static"
"""The built pages; not there in a checkout where `make ui` was not run."""

_DIGITS = 12


@cache
def version() -> str:
    """Return the version of the program."""
    return metadata.version("winnow")


@cache
def build() -> str:
    """Return what identifies program and pages: the version, and the content of the first page."""
    page = STATIC / "index.html"
    content = page.read_bytes() if page.is_file() else b""
    return f"{version()}-{hashlib.sha256(content).hexdigest()[:_DIGITS]}"
