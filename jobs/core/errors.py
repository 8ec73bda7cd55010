"""Errors that a user can fix, which the command line prints without a traceback."""

from __future__ import annotations

import re
from collections.abc import Iterable

from jobs.core.job_states import JobStateName
from jobs.core.redaction import redacted


class UserError(Exception):
    """A request cannot be fulfilled; `problems` has a line for each reason: expected, found, fix.

    Exit code 2: nothing was done.
    """

    exit_code = 2

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class UnusableWorkspaceError(UserError):
    """A workspace is not there, cannot be read, or a newer version has written it."""


class UnknownJobError(UserError):
    """There is no job or run of this id, or more than one that begins like it."""


class JobStateError(UserError):
    """A job is in a state, or got there meanwhile, that does not allow a request."""


class NotPromotedError(UserError):
    """The evidence for a version of a model does not suffice. Exit code 1: the request was right, the answer is no."""

    exit_code = 1


def one_line(error: BaseException | str) -> str:
    """Return the text of an error without line breaks, terminal colours and the secrets of the environment."""
    return redacted(" ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split()))


class RunStopped(Exception):  # noqa: N818 - nothing went wrong
    """A run was requested to stop before its end; `state` is its new state, `paused` or `cancelled`."""

    def __init__(self, state: JobStateName) -> None:
        self.state = state
        super().__init__(f"asked to end as {state}")


class JobWaits(RunStopped):
    """A job waits for something outside: it gives its place to other jobs, and is due again after `wait_s` seconds."""

    def __init__(self, what: str, wait_s: float) -> None:
        super().__init__("paused")
        self.what, self.wait_s = what, wait_s


class StoppedRunError(UserError):
    """A run was paused or cancelled before it was done. Exit codes 4 and 5.

    `told` says that the partial result was already printed for programs.
    """

    def __init__(self, state: JobStateName, text: str, printed: bool = False) -> None:
        self.exit_code = 5 if state == "cancelled" else 4
        self.printed = printed
        super().__init__(text)


class InterruptedRunError(UserError):
    """The user interrupted the program. Exit code 130, as shells use for an interrupt."""

    exit_code = 130


class BrokenTableError(UserError):
    """A table exists but cannot be read. Exit code 1."""

    exit_code = 1


class RunFailedError(UserError):
    """A run started and failed; what it committed is kept and not recomputed. Exit code 1."""

    exit_code = 1
