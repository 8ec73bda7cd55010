"""What bodies of requests have in common: unknown fields are refused, and texts have an end."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

Name = Annotated[str, Field(min_length=1, max_length=200)]
Password = Annotated[str, Field(min_length=1, max_length=1024)]
Token = Annotated[str, Field(min_length=1, max_length=200)]


class Body(BaseModel):
    """A body of a request."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _check_texts(cls, given: Any) -> Any:
        """Refuse null characters, which neither paths nor databases take, in any text of a body."""
        waiting = [given]
        while waiting:
            value = waiting.pop()
            if isinstance(value, str) and "\0" in value:
                raise ValueError("expected text without null characters")
            if isinstance(value, dict):
                waiting += [*value, *value.values()]
            elif isinstance(value, list):
                waiting += value
        return given
