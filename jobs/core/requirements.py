"""Packages that this one requires, from its own metadata: those of every installation, and those of each extra.

A checkout that was never installed has no metadata. Both functions raise `PackageNotFoundError` there; `pip install
-e .` in the checkout makes it.
"""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, metadata, requires

DISTRIBUTION = "winnow"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_EXTRA = re.compile(r"\bextra\s*==")


def required_packages() -> list[str]:
    """Return the names of the packages that every installation requires, as they are declared."""
    # Without the parser of the packaging library: every run asks for these, and it is slow to import.
    always = [text for text in requires(DISTRIBUTION) or () if not _EXTRA.search(text)]
    return [found[0] for text in always if (found := _NAME.match(text))]


def extra_packages() -> dict[str, list[str]]:
    """Return for each extra the names of the packages that it requires on this machine, sorted.

    Where it requires an extra of another package that is installed (`ray[default]`), the packages of that are among
    them.
    """
    names = metadata(DISTRIBUTION).get_all("Provides-Extra") or []
    return {name: sorted(_of_extra(DISTRIBUTION, name)) for name in names}


def _of_extra(distribution: str, extra: str) -> set[str]:
    from packaging.requirements import Requirement

    found: set[str] = set()
    try:
        declared = requires(distribution) or ()
    except PackageNotFoundError:
        return found
    for requirement in map(Requirement, declared):
        if requirement.marker and "extra" in str(requirement.marker) and requirement.marker.evaluate({"extra": extra}):
            found.add(requirement.name)
            for further in requirement.extras:
                found |= _of_extra(requirement.name, further)
    return found
