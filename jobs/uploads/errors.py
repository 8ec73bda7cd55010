"""What may be wrong with an upload. A server that waits imports this, and no library of tables or images with it."""

from __future__ import annotations

from jobs.core.errors import UserError


class NameTakenError(UserError):
    """Another file has the name."""


class UploadMissingError(UserError):
    """There is no upload of an id."""


class UploadStateError(UserError):
    """An upload is in a state that does not allow this."""


class NoSpaceError(UserError):
    """There is no space for an upload, on the disk or in the quota of its project. Nothing was written."""

    exit_code = 1
