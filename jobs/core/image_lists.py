"""Lists of images by name, a line each, and the images that they name."""

from __future__ import annotations

from pathlib import Path

from jobs.core.errors import UserError


def names_in_list(option: str, file: Path) -> frozenset[str]:
    """Return the names in a file, less empty lines. Raises `UserError`, with the option, for one that is no text."""
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, ValueError) as error:
        raise UserError(f"{option} {file} cannot be read: {error}") from error
    return frozenset(line.strip() for line in lines if line.strip())


def endings_in(name: str, names: frozenset[str]) -> set[str]:
    """Return those of the names that are the name of an image, as it is or without its first folders.

    Spaces around a name do not count, as in the list.
    """
    parts = name.split("/")
    return {"/".join(parts[at:]).strip() for at in range(len(parts))} & names
