"""How a command that failed says so: lines on standard error, and for programs one object on standard output."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence


def asks_json(words: Sequence[str]) -> bool:
    """Say whether the words of a command line ask for JSON."""
    options = words[: words.index("--")] if "--" in words else words
    return "--json" in options


def say(problems: Sequence[str], exit_code: int, as_json: bool, prefix: str = "error: ") -> None:
    """Print what went wrong, a line each, and for programs an object with the same lines and the exit code."""
    for problem in problems:
        sys.stderr.write(f"{prefix}{problem}\n")
    if as_json:
        sys.stdout.write(json.dumps({"error": list(problems), "exit_code": exit_code}) + "\n")
    sys.stdout.flush()
    sys.stderr.flush()


def usage_problem(error: BaseException) -> tuple[str, int] | None:
    """Return what the command line's own parser complains of, and its exit code; None for any other error."""
    format_message, exit_code = getattr(error, "format_message", None), getattr(error, "exit_code", None)
    if not callable(format_message) or not isinstance(exit_code, int):
        return None
    said = " ".join(str(format_message()).split())
    command = getattr(getattr(error, "ctx", None), "command_path", None)
    return f"{said.removesuffix('.')}; see `{command} --help`" if command else said, exit_code


def shows_help(error: BaseException) -> bool:
    """Print the help, if an error is that nothing was asked for; say whether it was."""
    show = getattr(error, "show", None)
    if type(error).__name__ != "NoArgsIsHelpError" or not callable(show):
        return False
    show()
    return True


def open_closed_streams() -> None:
    """Let what a shell has closed (`>&-`) lead nowhere: a file opened later must not take its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # The lowest number that is free, in this order, is the stream's own.
            handle = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(handle, True)
            setattr(sys, name, os.fdopen(handle, mode))


def nobody_listens() -> None:
    """Let nothing be flushed into an output that whoever read it has closed."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
