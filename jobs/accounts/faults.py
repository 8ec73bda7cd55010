"""What a database complains of, as errors that people understand and that hold no values of a statement."""

from __future__ import annotations

from typing import Any

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from jobs.accounts.errors import AccountConflictError, DatabaseFullError, UnreachableError
from jobs.core.errors import UserError

_FULL = ("database or disk is full", "No space left on device", "could not extend file")

_NO_VALUE = "a value cannot be stored: expected text without null characters, and numbers below 2^63"


def as_user_error(error: DBAPIError) -> UserError:
    """Return a complaint of a database as an error: a full disk, a conflict, a value of the wrong kind."""
    complaint = first_line(error.orig if error.orig is not None else error)
    if any(sign in complaint for sign in _FULL):
        return DatabaseFullError("the disk of the accounts is full; nothing was changed. Free some space and try again")
    if isinstance(error, IntegrityError):
        return AccountConflictError("somebody changed the same at the same moment: look at it again, and try once more")
    if isinstance(error, DataError):
        return UserError(_NO_VALUE)
    return UnreachableError(f"the accounts cannot be read or written: {complaint}")


def of_driver(error: Exception, library: Any) -> UserError:
    """Return the same for an error of a driver of databases (PEP 249) that came through no engine."""
    if isinstance(error, library.DataError):
        return UserError(_NO_VALUE)
    return UnreachableError(f"the accounts cannot be read: {first_line(error)}")


def first_line(error: BaseException) -> str:
    """Return the first line of an error; PostgreSQL has values of rows in those after it."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
