"""Errors that a user can do something about; the command line prints them without a traceback."""

from __future__ import annotations

import re
from collections.abc import Iterable


class UserError(Exception):
    """What was asked for cannot be done; `problems` says, a line each, what was expected, found, and what helps.

    Exit code 2: nothing was done.
    """

    exit_code = 2

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


def one_line(error: BaseException | str) -> str:
    """Return the text of an error without line breaks and without a terminal's colours."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split())


class RunStopped(Exception):  # noqa: N818 - nothing went wrong
    """A run was asked to end before its end; `state` is the one to leave it in, `paused` or `cancelled`."""

    def __init__(self, state: str) -> None:
        self.state = state
        super().__init__(f"asked to end as {state}")


class StoppedRunError(UserError):
    """A run was paused, or cancelled, before it was done. Exit codes 4 and 5.

    `told` says that a program has been given what the run had done by then.
    """

    def __init__(self, state: str, text: str, printed: bool = False) -> None:
        self.exit_code = 5 if state == "cancelled" else 4
        self.printed = printed
        super().__init__(text)


class InterruptedRunError(UserError):
    """The user ended a program at once. Exit code 130, as shells have it for an interrupt."""

    exit_code = 130


class BrokenTableError(UserError):
    """A table is there and cannot be read. Exit code 1."""

    exit_code = 1


class RunFailedError(UserError):
    """A run began and could not be finished; what it committed stays and is not computed again. Exit code 1."""

    exit_code = 1
