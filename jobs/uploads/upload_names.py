"""Names of files that people send: what is refused, so that nothing is written outside of the folder of uploads."""

from __future__ import annotations

import unicodedata
from pathlib import PurePosixPath

from jobs.core.errors import UserError
from transforms.frames import clip, name_pattern
from transforms.io.recordings import recorded_frame

EXTENSIONS = (*clip.EXTENSIONS, *recorded_frame.EXTENSIONS, *name_pattern.EXTENSIONS)
"""Ends of names of what a run can read."""

LONGEST_NAME = 100
"""Characters of a name, as of a part of a stream id."""

_LONGEST_PATH = 600
_MOST_PARTS = 12
_MOST_BYTES = 255
_NO_NAME = frozenset('\\:*?"<>|#%')
_ARCHIVES = frozenset({"zip", "tar", "gz", "tgz", "7z", "rar", "bz2", "xz", "zst"})


def checked_path(text: str) -> PurePosixPath:
    """Return the path of a file below the folder of uploads, as its sender names it.

    Raises `UserError` for one that leads out of the folder, is hidden, too long, looks other than it is (control
    characters, marks of writing direction), or ends like nothing that a run can read.
    """
    name = unicodedata.normalize("NFC", text)
    parts = name.split("/")
    if wrong := _wrong_with_all(name, parts) or next(filter(None, map(_wrong_with, parts)), None):
        raise UserError(f"name {_shown(text)}: {wrong}")
    suffix = PurePosixPath(name).suffix.lower().removeprefix(".")
    if suffix in _ARCHIVES:
        raise UserError(f"name {_shown(text)}: archives are not unpacked here; send the files in it")
    if suffix not in EXTENSIONS:
        raise UserError(f"name {_shown(text)}: expected a clip, a recording or an image ({', '.join(EXTENSIONS)})")
    return PurePosixPath(name)


def checked_name(text: str) -> str:
    """Return a single name for what is registered. Raises `UserError` as `checked_path` does."""
    name = unicodedata.normalize("NFC", text)
    wrong = "expected one name, found a path" if "/" in name else _wrong_with(name)
    if wrong:
        raise UserError(f"name {_shown(text)}: {wrong}")
    return name


def _wrong_with_all(name: str, parts: list[str]) -> str | None:
    if not name:
        return "expected a name, found none"
    if len(name) > _LONGEST_PATH:
        return f"expected at most {_LONGEST_PATH} characters, found {len(name)}"
    if len(parts) > _MOST_PARTS:
        return f"expected at most {_MOST_PARTS} folders in each other, found {len(parts)}"
    return None


def _wrong_with(part: str) -> str | None:
    found = sorted({c for c in part if c in _NO_NAME})
    invisible = [c for c in part if unicodedata.category(c)[0] == "C" or unicodedata.category(c) in {"Zl", "Zp"}]
    wrongs = (
        (not part, "expected a path below a folder, without empty parts"),
        (part in {".", ".."}, "expected a path without the parts . and .."),
        (part.startswith("."), "expected a name that does not begin with a dot"),
        (part != part.strip() or part.endswith("."), "expected a name without spaces around it or a dot at its end"),
        (found, f"expected a name without {''.join(found)[:1]}"),
        (invisible, f"expected a name without invisible characters, found U+{ord((invisible or ['0'])[0]):04X}"),
        (len(part) > LONGEST_NAME, f"expected names of at most {LONGEST_NAME} characters, found one of {len(part)}"),
        # Half of a pair of code units is no character, and was found above.
        (len(part.encode(errors="replace")) > _MOST_BYTES, f"expected names of at most {_MOST_BYTES} bytes"),
    )
    return next((text for is_wrong, text in wrongs if is_wrong), None)


def _shown(text: str) -> str:
    """Return a name as it can be printed: escaped, and cut."""
    escaped = text.encode("unicode_escape", "backslashreplace").decode("ascii") if not text.isprintable() else text
    return repr(escaped[:60] + ("…" if len(escaped) > 60 else ""))
