"""Categories of a reviewed file that the workspace does not know, one message for each."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Sequence

from transforms.formats.reviewing.shapes import Returned

_SHOWN = 5


def unknown_categories(returned: Sequence[Returned], known: Collection[str]) -> Iterator[str]:
    """Yield a message for each unknown category: how many objects have it, where the first is, what comes nearest."""
    found: dict[str, list[str]] = {}
    for frame in returned:
        for shape in frame.shapes:
            if shape.category not in known:
                found.setdefault(shape.category, []).append(f"{frame.place}, {shape.place}")
    folded = {name.casefold(): name for name in sorted(known, reverse=True)}
    for category, places in sorted(found.items()):
        near = difflib.get_close_matches(category.casefold(), folded, 1)
        if near:
            hint = f"the nearest is {folded[near[0]]!r}"
        else:
            hint = f"there are {', '.join(sorted(known)[:_SHOWN])}" + (", …" if len(known) > _SHOWN else "")
        n = f"{len(places):,} object{'s' if len(places) > 1 else ''}, the first at {places[0]}"
        yield f"category {category!r} ({n}) is not known; {hint}; let it in with --category {category!r}"
