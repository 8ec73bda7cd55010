"""Errors of uploads that the protocol has a status for."""

from __future__ import annotations

from jobs.core.errors import UserError

WRONG_CHECKSUM = 460
"""Status of the checksum extension of tus 1.0; HTTP has no name for it."""


class UploadVersionError(UserError):
    """A client speaks another version of the protocol."""


class UploadTypeError(UserError):
    """The body of a request is not declared as bytes of a file."""


class UploadOffsetError(UserError):
    """A client continues elsewhere than where the upload ends; `offset` is where."""

    def __init__(self, offset: int, text: str) -> None:
        self.offset = offset
        super().__init__(text)


class SupersededError(UserError):
    """Another request for the same upload came; it has its turn now."""


class TooLongError(UserError):
    """More bytes came than an upload has."""


class WrongChecksumError(UserError):
    """Bytes are not those that their sender says; none of the request is kept."""


class IdleSenderError(UserError):
    """Nothing came for a while; what came before is kept."""
