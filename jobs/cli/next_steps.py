"""Suggestions of the next command after one has done its work, complete for pasting."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Sequence
from os.path import relpath
from pathlib import Path

from jobs.cli.show import out


def print_next_steps(workspace: object, *commands: Sequence[object]) -> None:
    """Print commands for a workspace: each its name, which may be of two words, and its other words."""
    out.print("\ntry next:", style="bold")
    for name, *words in commands:
        line = f"{name} {shlex.join(['-w', str(workspace), *map(str, words)])}"
        out.print(f"  {program()} {line}", soft_wrap=True, markup=False)


def program() -> str:
    """Return how to call this program: its name if the shell finds it, else its path, from here if it is below."""
    if shutil.which("winnow") or not sys.argv[0].endswith("winnow"):
        return "winnow"
    below = relpath(sys.argv[0])
    return shlex.quote(str(Path(sys.argv[0]).absolute()) if below.startswith("..") else below)
