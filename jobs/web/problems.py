"""Errors as `application/problem+json` (RFC 9457), with the lines that the command line prints."""

from __future__ import annotations

import errno
import logging
import traceback
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from jobs.accounts.errors import (
    AccountConflictError,
    DatabaseFullError,
    NotSignedInError,
    TooManyTriesError,
    UnknownAccountError,
    UnreachableError,
)
from jobs.core.errors import (
    BrokenTableError,
    JobStateError,
    NotPromotedError,
    UnknownJobError,
    UnusableWorkspaceError,
    UserError,
    one_line,
)
from jobs.core.os_errors import as_problem, damage_in
from jobs.dispatch.trial_worker import TriedImageError
from jobs.editing.errors import (
    ChangedImageError,
    EditConflictError,
    InvalidEditError,
    NotAllowedError,
    UnknownFrameError,
)
from jobs.uploads.errors import NameTakenError, NoSpaceError, UploadMissingError, UploadStateError
from jobs.web.hidden_paths import within_projects, without_folders
from jobs.web.places import places_of
from jobs.web.plain import with_times
from jobs.web.upload_errors import (
    WRONG_CHECKSUM,
    IdleSenderError,
    SupersededError,
    TooLongError,
    UploadOffsetError,
    UploadTypeError,
    UploadVersionError,
    WrongChecksumError,
)

MEDIA_TYPE = "application/problem+json"

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FAILED = 1
_WRONG = 2
_MOST_FOUND = 60
_MOST_PATH = 300
_SECRET = ("password", "token", "key")
_LOG = logging.getLogger("winnow.web")


class ForbiddenError(UserError):
    """Somebody may see a thing but not do this with it."""


class MissingError(UserError):
    """There is no such thing, or none that this person may see."""


class GoneError(UserError):
    """It was there and is not any more: ask for a new one."""


class UndecodableError(UserError):
    """A frame has no image: its bytes do not decode."""


class StateConflictError(UserError):
    """The thing is in a state that does not allow this."""


_STATUS: tuple[tuple[type[UserError], int], ...] = (
    (NotSignedInError, 401),
    (ForbiddenError, 403),
    (NotAllowedError, 403),
    (MissingError, 404),
    (UnknownFrameError, 404),
    (UnknownAccountError, 404),
    (UnknownJobError, 404),
    (AccountConflictError, 409),
    (JobStateError, 409),
    (StateConflictError, 409),
    (UploadMissingError, 404),
    (NameTakenError, 409),
    (UploadStateError, 409),
    (NoSpaceError, 507),
    (IdleSenderError, 408),
    (TooLongError, 413),
    (UploadOffsetError, 409),
    (SupersededError, 409),
    (UploadVersionError, 412),
    (UploadTypeError, 415),
    (WrongChecksumError, WRONG_CHECKSUM),
    (NotPromotedError, 409),
    (EditConflictError, 409),
    (GoneError, 410),
    (ChangedImageError, 410),
    (InvalidEditError, 422),
    (UndecodableError, 422),
    (TriedImageError, 422),
    (TooManyTriesError, 429),
    (DatabaseFullError, 507),
    (UnreachableError, 503),
    (BrokenTableError, 503),
    (UnusableWorkspaceError, 503),
)

_CUT = (SupersededError, TooLongError, IdleSenderError)


def problem(
    status: int,
    lines: Iterable[str],
    code: int = _WRONG,
    headers: Mapping[str, str] | None = None,
    about: Mapping[str, Any] | None = None,
) -> Response:
    """Return an error as a response; `code` is the exit code that the command line has for it.

    `about`: more members (RFC 9457, 3.2), such as what others changed.
    """
    content = {
        **(about or {}),
        "title": "Checksum Mismatch" if status == WRONG_CHECKSUM else HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "lines": [one_line(line) for line in lines],
    }
    return JSONResponse(content, status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def add_handlers(app: FastAPI) -> None:
    """Have an application answer every error as a problem; none of its answers has a traceback."""

    @app.exception_handler(UserError)
    async def _of_user(request: Request, error: UserError) -> Response:
        status = next((status for kind, status in _STATUS if isinstance(error, kind)), 400)
        return problem(status, _for(request, error.problems), error.exit_code, _headers(error), _about(error))

    @app.exception_handler(RequestValidationError)
    async def _of_request(_: Request, error: RequestValidationError) -> Response:
        return problem(422, [_explain(found) for found in error.errors()])

    @app.exception_handler(HTTPException)
    async def _of_http(_: Request, error: HTTPException) -> Response:
        return problem(error.status_code, [str(error.detail)], headers=error.headers)

    @app.exception_handler(OSError)
    async def _of_system(request: Request, error: OSError) -> Response:
        return of_failure(request, error)


def _headers(error: UserError) -> dict[str, str]:
    """Return what a client needs to know of an error before its lines."""
    if isinstance(error, TooManyTriesError):
        return {"Retry-After": str(max(1, round(error.wait_s)))}
    if isinstance(error, UploadOffsetError):
        return {"Upload-Offset": str(error.offset), "Connection": "close"}
    # The rest of what a client sends is not read: it must not be taken for another request.
    return {"Connection": "close"} if isinstance(error, _CUT) else {}


def _about(error: UserError) -> dict[str, Any] | None:
    """Return what a client needs to know of an error beyond its lines."""
    if isinstance(error, EditConflictError):
        return with_times(error.about)
    return {"h": error.h} if isinstance(error, ChangedImageError) else None


def of_failure(request: Request, error: Exception) -> Response:
    """Log an error that nobody expected and return a problem that repeats nothing of it."""
    if isinstance(error, OSError):
        _log(request, error)
        lines = _for(request, [as_problem(error)])
        if not _asks_as_admin(request):
            lines = without_folders(lines)
        return problem(507 if error.errno in _FULL else 503, lines, _FAILED)
    if damage := damage_in(error):
        return problem(503, [damage], _FAILED)
    _log(request, error)
    return problem(500, ["the server failed at this; its log says how"], _FAILED)


def _asks_as_admin(request: Request) -> bool:
    return bool(getattr(request.state, "is_admin", False))


def _for(request: Request, lines: Iterable[str]) -> list[str]:
    """Return lines for the one who asks: places of the server are named to its admins alone."""
    if _asks_as_admin(request):
        return list(lines)
    return within_projects(lines, places_of(request.app.state.settings))


def _log(request: Request, error: Exception) -> None:
    """Log an error with its traceback, without what the request held: it may have had a password in it."""
    where = traceback.format_tb(error.__traceback__)
    # A path may hold line breaks, which would look like entries of their own.
    _LOG.error("%s %r: %s\n%s", request.method, request.url.path[:_MOST_PATH], type(error).__name__, "".join(where))


def _explain(error: Any) -> str:
    """Return one error of pydantic as a line: the field, what was expected and what was found."""
    place = ".".join(str(part) for part in error["loc"] if part not in {"body", "query", "path"}) or "body"
    if error["type"] == "missing":
        return f"{place}: required"
    if error["type"] == "extra_forbidden":
        return f"{place}: unknown field"
    found = error.get("input")
    # What somebody typed into a field for a password, or in place of all fields, is not repeated.
    is_shown = isinstance(found, (str, int, float, bool)) and place != "body" and not any(s in place for s in _SECRET)
    shown = f", found {found!r}" if is_shown else ""
    return f"{place}: {error['msg'][0].lower()}{error['msg'][1:]}{shown[:_MOST_FOUND]}"
