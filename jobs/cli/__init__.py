"""The command line: commands parse, call and print."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from typing import NoReturn

INTERRUPTED = 130
"""Exit code of a program that its user ended, as shells have it."""


def main() -> NoReturn:
    """Run the program, most of which is yet to be imported: an interrupt meanwhile ends it without a traceback."""
    try:
        from jobs.cli.app import main as run

        run()
        code = 0
    except KeyboardInterrupt:
        code = INTERRUPTED
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    leave(code)


def leave(code: int) -> NoReturn:
    """End the process after all that is registered for its end, without taking the interpreter and libraries apart.

    Threads that libraries written in C++ leave behind abort a process that does, in rare cases, when its work is done
    and its exit code should say so.
    """
    threading._shutdown()  # type: ignore[attr-defined] # noqa: SLF001 - what the interpreter itself begins its end with
    atexit._run_exitfuncs()  # noqa: SLF001
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or 1
    os._exit(code)
