"""Errors of accounts: what a server answers with a status of its own, and the command line with a line."""

from __future__ import annotations

from jobs.core.errors import UserError


class UnknownAccountError(UserError):
    """There is no such person, key, invitation or session, or none that this person may see."""


class AccountConflictError(UserError):
    """A change would leave a server or a project without an admin, or a name is in use."""


class NotSignedInError(UserError):
    """A name, password, token or key is not right, or does not hold any more; which of these is not said."""


class TooManyTriesError(UserError):
    """Somebody tried too often; the next try is heard after `wait_s` seconds."""

    def __init__(self, wait_s: float, what: str = "too many tries; the next one is heard") -> None:
        self.wait_s = wait_s
        super().__init__(f"{what} in {max(1, round(wait_s))} s")


class DatabaseFullError(UserError):
    """The disk of the accounts is full: nothing was changed. Exit code 1."""

    exit_code = 1


class UnreachableError(UserError):
    """The database of the accounts does not answer, or its file cannot be used. Exit code 1."""

    exit_code = 1
