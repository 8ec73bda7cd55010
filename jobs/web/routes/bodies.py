"""What bodies of requests have in common: unknown fields are refused, and texts have an end."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(min_length=1, max_length=200)]
Password = Annotated[str, Field(min_length=1, max_length=1024)]
Token = Annotated[str, Field(min_length=1, max_length=200)]


class Body(BaseModel):
    """A body of a request."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def moment(ns: int | None) -> str | None:
    """Return a time (ns since 1970) as ISO 8601 in UTC, to the millisecond; None for none."""
    if ns is None:
        return None
    return datetime.fromtimestamp(ns / 1e9, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
