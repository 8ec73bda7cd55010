"""Numbers and flags in files of other tools, each with a message that says what was expected and what was found."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from transforms.formats.coco_rle import shortened


def finite(text: str | None, name: str) -> float:
    """Return a number. Raises `ValueError`, which begins with `name`, for anything else, and for none."""
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{name}: expected a number, found {_shown(text)}")
    return value


def whole(text: str | None, name: str, least: int | None = None) -> int:
    """Return a whole number, of at least `least`. Raises `ValueError`, which begins with `name`, for anything else."""
    value = _int(text)
    if value is None or (least is not None and value < least):
        from_ = "" if least is None else f" from {least} on"
        raise ValueError(f"{name}: expected a whole number{from_}, found {_shown(text)}")
    return value


def flag(text: str | None, name: str) -> bool:
    """Return what 1, true, 0 and false say; false for none. Raises `ValueError`, which begins with `name`."""
    said = {"1": True, "true": True, "0": False, "false": False, "": False}.get((text or "").strip().casefold())
    if said is None:
        raise ValueError(f"{name}: expected 0 or 1, found {_shown(text)}")
    return said


def one_line_each(problems: Mapping[str, list[str]]) -> Iterator[str]:
    """Yield a message for each problem, of what was expected and found, with its first place and how many it has."""
    for problem, places in problems.items():
        more = f"; so it is at {len(places) - 1:,} more" if len(places) > 1 else ""
        yield f"{places[0]}: {problem}{more}"


def _int(text: str | None) -> int | None:
    try:
        return int(text or "")
    except ValueError:
        return None


def _shown(text: str | None) -> str:
    return "none" if text is None else shortened(text)
