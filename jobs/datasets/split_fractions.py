"""The names and fractions of splits as people write them: `train=0.8,val=0.2`."""

from __future__ import annotations

from jobs.core.errors import UserError


def fractions_of(text: str | None) -> dict[str, float]:
    """Return the fractions by name; none for no text. Raises `UserError` for anything but names and fractions."""
    found: dict[str, float] = {}
    for item in text.split(",") if text else ():
        name, sign, number = item.partition("=")
        try:
            share = float(number)
        except ValueError:
            share = -1.0
        if not sign or not name.strip().isidentifier() or not 0 < share <= 1:
            raise UserError(f"--split {text}: expected names and fractions above 0, as in train=0.8,val=0.2")
        if name.strip() in found:
            raise UserError(f"--split {text}: {name.strip()} is named twice")
        found[name.strip()] = share
    return found
