"""Why an edit is not applied: others changed the same, or the frame shows another image now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs.core.errors import UserError


class EditConflictError(UserError):
    """Somebody changed the same meanwhile; `about` says what there is now, in the terms of the API."""

    def __init__(self, problems: str | list[str], about: Mapping[str, Any]) -> None:
        self.about = dict(about)
        super().__init__(problems)


class ChangedImageError(UserError):
    """The frame shows another image than the one that was edited; `h` is that of now, None for no frame."""

    def __init__(self, problem: str, h: str | None) -> None:
        self.h = h
        super().__init__(problem)


class InvalidEditError(UserError):
    """An edit cannot be what was meant: geometry outside of the frame, an unknown category."""


class UnknownFrameError(UserError):
    """There is no such frame, lease or object."""


class NotAllowedError(UserError):
    """Somebody's role does not allow this."""
