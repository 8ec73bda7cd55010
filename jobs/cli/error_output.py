"""Output of a command that failed: lines on standard error, and for programs one object on standard output."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence

_MOST_LETTERS = 1000
_FIRST_LETTERS = 700


def asks_json(words: Sequence[str]) -> bool:
    """Return whether a command line asks for JSON."""
    options = words[: words.index("--")] if "--" in words else words
    return "--json" in options


def print_problems(problems: Sequence[str], exit_code: int, as_json: bool, prefix: str = "error: ") -> None:
    """Print problems, one line each, and for programs an object with the same lines and the exit code.

    Of a line that quotes something very long, the middle is left out; characters that would change the terminal are
    shown as escapes.
    """
    problems = [_presentable(problem) for problem in problems]
    for problem in problems:
        sys.stderr.write(f"{prefix}{problem}\n")
    if as_json:
        sys.stdout.write(json.dumps({"error": list(problems), "exit_code": exit_code}) + "\n")
    sys.stdout.flush()
    sys.stderr.flush()


def _presentable(problem: str) -> str:
    """Return a problem as text that a terminal shows as it is, with its beginning and its end if it is long."""
    if len(problem) > _MOST_LETTERS:
        left_out = len(problem) - _MOST_LETTERS
        problem = f"{problem[:_FIRST_LETTERS]} … {left_out:,} characters … {problem[_FIRST_LETTERS - _MOST_LETTERS :]}"
    if problem.isprintable():
        return problem
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in problem)


def usage_problem(error: BaseException) -> tuple[str, int] | None:
    """Return message and exit code of an error of the command line's parser; None for any other error."""
    format_message, exit_code = getattr(error, "format_message", None), getattr(error, "exit_code", None)
    if not callable(format_message) or not isinstance(exit_code, int):
        return None
    # The parser checks values with pydantic, which says first of which kind an error is.
    said = " ".join(str(format_message()).replace("Value error, ", "").split())
    command = getattr(getattr(error, "ctx", None), "command_path", None)
    return f"{said.removesuffix('.')}; see `{command} --help`" if command else said, exit_code


def shows_help(error: BaseException) -> bool:
    """Print the help if the error is that no command was given; return whether it was."""
    show = getattr(error, "show", None)
    if type(error).__name__ != "NoArgsIsHelpError" or not callable(show):
        return False
    show()
    return True


def open_closed_streams() -> None:
    """Open standard streams that a shell has closed (`>&-`) on the null device, so that no file takes their numbers."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # In this order, the lowest free number is the one of the stream.
            handle = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(handle, True)
            setattr(sys, name, os.fdopen(handle, mode))


def nobody_listens() -> None:
    """Send standard output to the null device, after its reader has closed it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
