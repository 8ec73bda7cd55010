"""Python processes that import our packages from where this process has them: their command lines, and their end.

Never from the folder that they are started in: Python looks there first, for a program given with `-c` or `-m`, and the
folders of users often have a `transforms` or a `jobs` of their own.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess

ROOT = Path(__file__).resolve().parents[2]
"""The folder that has our packages."""

_SAFE = "-P"


def python(*arguments: str) -> list[str]:
    """Return the command of a Python process that does not import from the current folder."""
    return [sys.executable, _SAFE, *arguments]


def python_environment() -> dict[str, str]:
    """Return the environment for such a process: this one's, with a search path that leads to our packages.

    Its own processes do not import from the current folder either.
    """
    return {**os.environ, "PYTHONPATH": os.pathsep.join(search_path()), "PYTHONSAFEPATH": "1"}


def search_path() -> list[str]:
    """Return where modules are searched for here, in order, without the current folder.

    It begins with the folder of our packages, unless that is where Python installs packages, which comes after its own
    modules.
    """
    here = Path.cwd()
    listed = [entry for entry in sys.path if entry and Path(entry).resolve() not in {here, ROOT}]
    return [*own_folders(), *listed, *([] if own_folders() else [str(ROOT)])]


def own_folders() -> list[str]:
    """Return the folder of our packages, nothing where they are installed next to others."""
    installed = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")}
    return [] if ROOT in installed else [str(ROOT)]


def end_child(process: subprocess.Popen[str]) -> None:
    """Kill a child, wait for its end, and close its pipes."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            # What was not sent any more is lost with the child.
            with suppress(OSError):
                pipe.close()
