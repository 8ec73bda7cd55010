"""Places of the server in lines of errors: for its admins, who may read them on the machine, and for nobody else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

# A path of two parts or more, to its end or to what cannot be a part of it in a line of ours.
_PATH = re.compile(r"(?<![\w/.:])/(?:[^/\s'\",;:()]+/)+([^/\s'\",;:()]*)")


def within_projects(lines: Iterable[str], places: Mapping[str, str]) -> list[str]:
    """Return lines in which what is below a place is named from its project on; `places` are names by path."""
    found = []
    for line in lines:
        for path, name in sorted(places.items(), key=lambda each: -len(each[0])):
            # What only begins like a folder is another one; what ends with a slash is all that is below it.
            ends = "" if path.endswith("/") else r"(?![\w.-])"
            line = re.sub(re.escape(path) + ends, name.replace("\\", r"\\"), line)  # noqa: PLW2901 - one after another
        found.append(line)
    return found


def without_folders(lines: Iterable[str]) -> list[str]:
    """Return lines in which each path of the machine is its last part alone."""
    return [_PATH.sub(lambda found: found[1] or "a folder", line) for line in lines]
