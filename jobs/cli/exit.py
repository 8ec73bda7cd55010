"""Exit codes that several commands share, and the end of the process."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from typing import NoReturn

STRICT = 3
"""A run that is `--strict` finished, with corrupt or quarantined frames."""

INTERRUPTED = 130
"""The user ended the program with Ctrl-C; the code that shells give it."""


def leave(code: int) -> NoReturn:
    """End the process after its exit handlers, without finalising the interpreter and its libraries.

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
